// SPDX-License-Identifier: GPL-2.0
#include "objrmap/slot_map.h"

#include <bit>

namespace objr {

Status SlotMap::create(u64 slots, Begin begin) {
    slots_ = slots;
    words_ = static_cast<u64*>(objr_kvzalloc(words_count() * sizeof(u64)));
    uppers_ = static_cast<u64*>(objr_kvzalloc(uppers_count() * sizeof(u64)));
    if (!words_ || !uppers_) {
        destroy();
        return Errno{OBJR_ENOMEM};
    }
    if (begin == Begin::none) {
        return {};
    }
    for (u64 slot = 0; slot < slots; slot++) {
        words_[slot / kBits] |= 1ull << (slot % kBits);
    }
    for (u64 word = 0; word < words_count(); word++) {
        uppers_[word / kBits] |= 1ull << (word % kBits);
    }
    return {};
}

void SlotMap::destroy() {
    objr_kvfree(words_);
    objr_kvfree(uppers_);
    words_ = nullptr;
    uppers_ = nullptr;
    slots_ = 0;
}

// The first free one at or behind slot.
u64 SlotMap::first_from(u64 slot) const {
    if (slot >= slots_) {
        return kNone;
    }
    const u64 word = slot / kBits;
    if (const u64 bits = words_[word] & (~0ull << (slot % kBits))) {
        return word * kBits + static_cast<u64>(std::countr_zero(bits));
    }
    u64 mask = ~0ull << ((word + 1) % kBits);
    for (u64 upper = (word + 1) / kBits; upper < uppers_count(); upper++, mask = ~0ull) {
        if (const u64 bits = uppers_[upper] & mask) {
            const u64 found = upper * kBits + static_cast<u64>(std::countr_zero(bits));
            return found * kBits + static_cast<u64>(std::countr_zero(words_[found]));
        }
    }
    return kNone;
}

u64 SlotMap::next() {
    u64 slot = first_from(cursor_);
    if (slot == kNone) {
        slot = first_from(0);
    }
    if (slot != kNone) {
        cursor_ = slot + 1;
    }
    return slot;
}

u64 SlotMap::take() {
    const u64 slot = next();
    if (slot != kNone) {
        remove(slot);
    }
    return slot;
}

void SlotMap::remove(u64 slot) {
    u64& word = words_[slot / kBits];
    word &= ~(1ull << (slot % kBits));
    if (word == 0) {
        uppers_[slot / kBits / kBits] &= ~(1ull << (slot / kBits % kBits));
    }
}

void SlotMap::give(u64 slot) {
    OBJR_WARN_ON((words_[slot / kBits] & (1ull << (slot % kBits))) != 0);
    words_[slot / kBits] |= 1ull << (slot % kBits);
    uppers_[slot / kBits / kBits] |= 1ull << (slot / kBits % kBits);
    if (slot + 1 == cursor_) { // it was not needed after all: a hole would part those who come before and behind
        cursor_ = slot;
    }
}

} // namespace objr
