// SPDX-License-Identifier: GPL-2.0
// objr_mm_who: the mappers of a page of the caller's own mapping, for the ioctl of the same name.
#include "objrmap/inspect.h"

#include "shim/module.h"

using namespace objr;

int objr_mm_who(objr_mm* mm, objr_u64 address, int all, objr_mapper* out, objr_u32 max) {
    Mm& own = *reinterpret_cast<Mm*>(mm);
    objr_query query{};
    query.kind = static_cast<objr_u32>(QueryKind::mm);
    query.first = own.id();
    query.address = address;
    u64 position = 0;
    Answer answer(Candidates::ignore);
    Reason reason;
    if (next_selected(own.world(), query, &position, answer, reason) != Selected::answer) {
        return -OBJR_ENOENT;
    }
    if (answer.state() == Answer::State::no_memory) {
        return -OBJR_ENOMEM;
    }
    if (answer.state() != Answer::State::stands) {
        return -OBJR_EAGAIN;
    }
    u32 total = 0;
    for (u32 i = 0; i < answer.row_count(); i++) {
        const Row& row = answer.row(i);
        if (all == 0 && row.mm_id != own.id()) {
            continue;
        }
        if (total < max) {
            out[total] = {row.pid, row.mm_id, row.address.value};
        }
        total++;
    }
    return static_cast<int>(total);
}
