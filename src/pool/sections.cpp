// SPDX-License-Identifier: GPL-2.0
// The row of sections that a Pool is: how it comes and goes (Linux: mm/sparse.c, mm/memory_hotplug.c).
#include "objrmap/pool.h"

#include <new>

namespace objr {

static u64 frame_of(const void* memory) { return (reinterpret_cast<u64>(memory) - objr_direct_map_base) >> kPageShift; }

// ---- creation and destruction

Status Pool::create(u32 mb) {
    lock_.init(OBJR_LOCK_POOL);
    Status status = make_room_in_directory(mb);
    u32 made = 0;
    for (; made < mb && status; made++) {
        status = make_section(made);
        objr_cond_resched();
    }
    if (!status) {
        objr_printk(OBJR_ERR, "pool of %u MiB: the kernel gave %u MiB in pieces of 1 MiB; take a smaller pool_mb\n", mb,
                    made == 0 ? 0 : made - 1);
    }
    if (status) {
        status = build_frame_table(mb);
    }
    if (!status) {
        destroy();
        return status;
    }
    size_.store(mb << Section::kOrder);
    for (u32 n = 0; n < mb; n++) {
        Guard guard(lock_);
        for (Page& page : section_of_number(n << Section::kOrder).pages) {
            page.set(PageFlag::free);
            push_back(free_, page);
        }
    }
    return {};
}

void Pool::destroy() {
    if (size() != 0 && OBJR_WARN_ON(free_pages() != size())) {
        objr_printk(OBJR_ERR, "%u pages of the pool are still in use: the pool is leaked\n", size() - free_pages());
        return;
    }
    destroy_sections();
    objr_kvfree(section_of_frame_);
    section_of_frame_ = nullptr;
    span_ = 0;
    size_.store(0);
}

void Pool::destroy_sections() {
    for (Section**& chunk : directory_) {
        for (u32 i = 0; chunk && i < kChunk && chunk[i]; i++) {
            objr_free_pages(chunk[i]->memory, Section::kOrder);
            objr_free_pages(chunk[i], Section::kBlockOrder);
            objr_cond_resched();
        }
        objr_kvfree(chunk);
        chunk = nullptr;
    }
}

// ---- the row

Status Pool::make_room_in_directory(u32 sections) {
    for (u32 n = 0; n < sections; n += kChunk) {
        Section**& chunk = directory_[n >> kChunkOrder];
        if (!chunk) {
            chunk = static_cast<Section**>(objr_kvzalloc(kChunk * sizeof(Section*)));
        }
        if (!chunk) {
            return Errno{OBJR_ENOMEM};
        }
    }
    return {};
}

Status Pool::make_section(u32 number) {
    void* memory = objr_alloc_pages(Section::kOrder);
    void* block = memory ? objr_alloc_pages(Section::kBlockOrder) : nullptr;
    if (!block) {
        objr_free_pages(memory, Section::kOrder);
        return Errno{OBJR_ENOMEM};
    }
    auto* section = new (block) Section;
    section->memory = memory;
    section->first = Pfn(frame_of(memory));
    section->number = number;
    directory_[number >> kChunkOrder][number % kChunk] = section;
    return {};
}

Status Pool::build_frame_table(u32 sections) {
    u64 first = ~0ull;
    u64 last = 0;
    for (u32 n = 0; n < sections; n++) {
        const u64 span = section_of_number(n << Section::kOrder).first.value >> Section::kOrder;
        first = min(first, span);
        last = max(last, span);
    }
    span_ = last - first + 1;
    first_span_ = first;
    section_of_frame_ = static_cast<u32*>(objr_kvzalloc(span_ * sizeof(u32)));
    if (!section_of_frame_) {
        return Errno{OBJR_ENOMEM};
    }
    for (u64 i = 0; i < span_; i++) {
        section_of_frame_[i] = kNoSection;
    }
    for (u32 n = 0; n < sections; n++) {
        section_of_frame_[(section_of_number(n << Section::kOrder).first.value >> Section::kOrder) - first] = n;
    }
    return {};
}

// ---- what there is

u32 Pool::free_sections_at_end() const {
    u32 count = 0;
    for (u32 n = sections(); n-- != 0;) {
        if (section_of_number(n << Section::kOrder).free_pages.load() != Section::kPages) {
            break;
        }
        count++;
    }
    return count;
}

u64 Pool::bytes() const {
    u64 chunks = 0;
    for (Section** chunk : directory_) {
        chunks += chunk ? 1 : 0;
    }
    return sections() * Section::kBlockBytes + chunks * kChunk * sizeof(Section*) + span_ * sizeof(u32);
}

} // namespace objr
