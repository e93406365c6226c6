# shellcheck shell=bash
# Shared by the scripts: where things are, how to speak, how to show that slow work goes on.
# Source it after `set -euo pipefail`.

OBJRMAP_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
OBJRMAP_PROGRAM=${0##*/}

# Everything large and reusable lives outside the checkout, so that a fresh clone starts warm.
# The directory can be put elsewhere by OBJRMAP_CACHE.
objrmap_cache() {
    printf '%s\n' "${OBJRMAP_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/objrmap}"
}

# One line to the person in front of the terminal; stdout stays for results.
note() {
    printf '%s: %s\n' "$OBJRMAP_PROGRAM" "$*" >&2
}

# die [STATUS] MESSAGE: the message says what is wrong and what to do next. Wrong usage has status 2.
die() {
    local status=1
    if [[ $1 =~ ^[0-9]+$ ]]; then
        status=$1
        shift
    fi
    note "$*"
    exit "$status"
}

# Seconds as people say them: 45 s, 3 min 5 s.
human_seconds() {
    if (($1 < 60)); then
        printf '%d s' "$1"
    else
        printf '%d min %d s' $(($1 / 60)) $(($1 % 60))
    fi
}

# with_progress LABEL LOG COMMAND...: runs COMMAND with its output in LOG. Silent when it takes less than 15 s; after that a
# line every 15 s with what progress_count (a function the caller may define) says. On failure the end of LOG.
with_progress() {
    local label=$1 log=$2 status=0 start=$SECONDS said=$SECONDS pid
    shift 2
    # A process group of its own, so that an interrupt takes everything that COMMAND started along.
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    set +m
    # shellcheck disable=SC2064 # the group of this very child
    trap "kill -TERM -- -$pid 2>/dev/null; exit 130" INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - said >= 15)); then
            said=$SECONDS
            if declare -F progress_count >/dev/null; then
                note "$label: $(progress_count "$log"), $(human_seconds $((SECONDS - start)))"
            else
                note "$label: $(human_seconds $((SECONDS - start)))"
            fi
        fi
    done
    wait "$pid" || status=$?
    trap - INT TERM
    if ((status != 0)); then
        tail -n 25 "$log" >&2
        note "$label failed with status $status; the whole output is in $log"
    fi
    return "$status"
}
