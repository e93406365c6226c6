// SPDX-License-Identifier: GPL-2.0
// Model: address spaces as a child would keep them: for each page of each process, which rights it has and which cell of
// memory it means. No page tables, no faults, no reverse map: fork copies the table and marks cells as shared; a write to a private
// cell that others mean too makes a new one. It is the oracle for random sequences of operations.
#pragma once

#include "objrmap/types.h"
#include "shim/module.h"

namespace objr::test {

class Model {
public:
    static constexpr u32 kProcesses = 5;
    static constexpr u32 kPages = 48; // of each process's window
    static constexpr u32 kObjectPages = 16;
    static constexpr u32 kCells = kProcesses * kPages + kObjectPages + 1;

    struct Slot {
        bool mapped = false;
        u32 rights = 0; // OBJR_VM_READ, WRITE
        bool object = false; // a window of the object
        bool shared = false; // writes go to the object
        u32 pgoff = 0; // in the object
        u32 cell = 0; // private contents; 0: none of its own yet (zero, or the object's page)
    };

    // What a load sees; a page of the object beyond its end: not to be asked.
    u64 value(const Slot& slot) const {
        if (slot.cell != 0) {
            return cells_[slot.cell].value;
        }
        return slot.object ? object_[slot.pgoff] : 0;
    }

    void write(u32 process, u32 page, u64 value) {
        Slot& slot = slots[process][page];
        if (slot.object && slot.shared) {
            object_[slot.pgoff] = value;
            return;
        }
        if (slot.cell == 0 || cells_[slot.cell].users > 1) {
            drop(slot);
            slot.cell = new_cell();
        }
        cells_[slot.cell].value = value;
    }

    void map(u32 process, u32 page, const Slot& slot) { slots[process][page] = slot; }
    void unmap(u32 process, u32 page) {
        drop(slots[process][page]);
        slots[process][page] = {};
    }
    void move(u32 process, u32 from, u32 to) {
        slots[process][to] = slots[process][from];
        slots[process][from] = {};
    }
    void fork(u32 parent, u32 child) {
        for (u32 page = 0; page < kPages; page++) {
            slots[child][page] = slots[parent][page];
            cells_[slots[child][page].cell].users++;
        }
    }
    void exit(u32 process) {
        for (u32 page = 0; page < kPages; page++) {
            unmap(process, page);
        }
    }
    // The object is cut to a number of pages: private copies beyond go too.
    void truncate(u32 pages) {
        object_pages = pages;
        for (u32 i = pages; i < kObjectPages; i++) {
            object_[i] = 0;
        }
        for (auto& process : slots) {
            for (Slot& slot : process) {
                if (slot.object && slot.pgoff >= pages) {
                    drop(slot);
                    slot.cell = 0;
                }
            }
        }
    }

    Slot slots[kProcesses][kPages];
    u32 object_pages = kObjectPages;

private:
    struct Cell {
        u64 value = 0;
        u32 users = 0;
    };

    void drop(Slot& slot) {
        if (slot.cell != 0) {
            cells_[slot.cell].users--;
            slot.cell = 0;
        }
    }
    u32 new_cell() {
        for (u32 i = 1; i < kCells; i++) {
            if (cells_[i].users == 0) {
                cells_[i] = {0, 1};
                return i;
            }
        }
        return 0; // there is one for every slot
    }

    u64 object_[kObjectPages] = {};
    Cell cells_[kCells];
};

} // namespace objr::test
