// SPDX-License-Identifier: GPL-2.0
// Commands on what is no page any more: swapin brings back what is at one address, swapoff everything.
#include "command.h"

namespace objr {

namespace {

const char* why_not_in(s32 error) {
    switch (-error) {
    case OBJR_EFAULT: return "nothing is mapped there";
    case OBJR_ENOENT: return "nothing is swapped out there";
    case OBJR_ENOMEM: return "the pool has no free page, or the kernel no memory: free some";
    case OBJR_EIO: return "its slot cannot be read: the kernel's log says which";
    case OBJR_EHWPOISON:
        return "the memory of its page has failed, and what it had is lost: unmap it, or cut it off its object";
    case OBJR_EINTR: return "interrupted";
    case OBJR_EBUSY: return "another swapoff or swapon is under way: wait for it, or end it";
    case OBJR_EAGAIN: return "slots are in use that no page table and no object names: ask again";
    default: return "unexpected error";
    }
}

s32 swap_in(World& world, const objr_command& command, objr_out* out) {
    Reason reason;
    Mm* mm = get_selected_mm(world, command.query, reason.words);
    s32 error = -OBJR_ENOENT;
    if (mm) {
        error = mm->swap_in(Vaddr(command.query.address)).as_int();
        if (error == 0) {
            Emitter emitter(out, format_of(command.query));
            emitter.begin_answer();
            emitter.begin_record("swapin");
            emitter.decimal("mm", mm->id());
            emitter.hex("vaddr", page_start(Vaddr(command.query.address)).value);
            emitter.end_record();
            emitter.end_answer();
        } else {
            reason.words.add("swapin of ").hex(command.query.address).add(" in mm ").decimal(mm->id()).add(": ");
            reason.words.add(why_not_in(error));
        }
        mm->put();
    }
    if (error != 0) {
        show_error(out, reason.words.c_str(), format_of(command.query));
    }
    return error;
}

s32 swap_off(World& world, const objr_command& command, objr_out* out) {
    SwapoffResult result;
    const s32 error = swapoff(world, result).as_int();
    if (error == -OBJR_EBUSY) {
        show_error(out, why_not_in(error), format_of(command.query));
        return error;
    }
    if (error != 0) {
        Reason reason;
        reason.words.add("swap is on as before: after ").decimal(result.pages).add(" pages, ");
        if (result.mm_id != 0) {
            reason.words.add("at ").hex(result.address.value).add(" in mm ").decimal(result.mm_id).add(", ");
        } else if (result.object_id != 0) {
            reason.words.add("at pgoff ").hex(result.pgoff).add(" of object ").decimal(result.object_id).add(", ");
        }
        reason.words.add(why_not_in(error));
        show_error(out, reason.words.c_str(), format_of(command.query));
        return error;
    }
    Emitter emitter(out, format_of(command.query));
    emitter.begin_answer();
    emitter.begin_record("swapoff");
    emitter.decimal("pages", result.pages);
    emitter.end_record();
    emitter.end_answer();
    return 0;
}

s32 swap_on(World& world, const objr_command& command, objr_out* out) {
    if (world.swap.slots() == 0) {
        show_error(out, "there is no swap space: load the module with swap=lz4:N or swap=/path",
                   format_of(command.query));
        return -OBJR_EINVAL;
    }
    if (const s32 error = swapon(world).as_int(); error != 0) {
        show_error(out, why_not_in(error), format_of(command.query));
        return error;
    }
    Emitter emitter(out, format_of(command.query));
    emitter.begin_answer();
    emitter.begin_record("swapon");
    emitter.decimal("slots", world.swap.slots());
    emitter.end_record();
    emitter.end_answer();
    return 0;
}

} // namespace

s32 run_swap_command(World& world, const objr_command& command, objr_out* out) {
    switch (command.verb) {
    case OBJR_VERB_SWAPIN: return swap_in(world, command, out);
    case OBJR_VERB_SWAPOFF: return swap_off(world, command, out);
    default: return swap_on(world, command, out);
    }
}

} // namespace objr
