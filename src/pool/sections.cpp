// SPDX-License-Identifier: GPL-2.0
// The row of sections that a Pool is: how it comes and goes, grows and shrinks (Linux: mm/sparse.c, mm/memory_hotplug.c).
#include "objrmap/pool.h"

#include <new>

namespace objr {

static u64 frame_of(const void* memory) { return (reinterpret_cast<u64>(memory) - objr_direct_map_base) >> kPageShift; }

// ---- creation and destruction

Status Pool::create(u32 mb) {
    lock_.init(OBJR_LOCK_POOL);
    u32 got = 0;
    if (Status status = prepare_growth(mb, &got); !status) {
        objr_printk(OBJR_ERR, "pool of %u MiB: the kernel gave %u MiB in pieces of 1 MiB; take a smaller pool_mb\n", mb,
                    got);
        destroy();
        return status;
    }
    grow();
    return {};
}

void Pool::destroy() {
    const u32 gone = free_pages() + poisoned_pages();
    if (size() != 0 && OBJR_WARN_ON(gone != size())) {
        objr_printk(OBJR_ERR, "%u pages of the pool are still in use: the pool is leaked\n", size() - gone);
        return;
    }
    for (u32 n = 0; n < size() && poisoned_pages() != 0; n++) {
        if (Page& page = this->page(n); page.has(PageFlag::poisoned)) {
            objr_clear_page(address(page));
            poisoned_.fetch_sub(1);
        }
    }
    size_.store(0);
    for (Section**& chunk : directory_) {
        for (u32 i = 0; chunk && i < kChunk && chunk[i]; i++) {
            objr_free_pages(chunk[i]->memory, Section::kOrder);
            objr_free_pages(chunk[i], Section::kBlockOrder);
            objr_cond_resched();
        }
        objr_kvfree(chunk);
        chunk = nullptr;
    }
    frames_.free();
    next_frames_.free();
}

// ---- from frames to sections. Sections lie anywhere in memory: a table indexed by the upper bits of the pfn.

void Pool::FrameTable::free() {
    objr_kvfree(numbers);
    *this = {};
}

// Of all sections up to number `sections`.
Status Pool::build_frame_table(u32 sections, FrameTable& table) {
    u64 first = ~0ull;
    u64 last = 0;
    for (u32 n = 0; n < sections; n++) {
        const u64 block = section(n).first.value >> Section::kOrder;
        first = min(first, block);
        last = max(last, block);
    }
    table = {static_cast<u32*>(objr_kvzalloc((last - first + 1) * sizeof(u32))), first, last - first + 1};
    if (!table.numbers) {
        table = {};
        return Errno{OBJR_ENOMEM};
    }
    for (u64 i = 0; i < table.span; i++) {
        table.numbers[i] = kNoSection;
    }
    for (u32 n = 0; n < sections; n++) {
        table.numbers[(section(n).first.value >> Section::kOrder) - first] = n;
    }
    return {};
}

// ---- growing

Status Pool::prepare_growth(u32 mb, u32* got) {
    Status status = make_room_in_directory(mb);
    u32 made = sections();
    for (; made < mb && status; made += status ? 1 : 0) {
        status = objr_fatal_signal_pending() != 0 ? Status(Errno{OBJR_EINTR}) : make_section(made);
        objr_cond_resched();
    }
    *got = made;
    if (status) {
        status = build_frame_table(mb, next_frames_);
    }
    if (!status) {
        give_back(sections(), made);
        forget_descriptors(max(sections(), most_sections_), made);
        return status;
    }
    next_sections_ = mb;
    most_sections_ = max(most_sections_, mb);
    return {};
}

// Of sections that have never been in the row, so that nobody can have a pointer to one.
void Pool::forget_descriptors(u32 first, u32 end) {
    for (u32 n = first; n < end; n++) {
        Section*& place = directory_[n >> kChunkOrder][n % kChunk];
        objr_free_pages(place, Section::kBlockOrder);
        place = nullptr;
    }
}

// Its frames are found from now on; then they are given out.
void Pool::grow() {
    const u32 before = sections();
    FrameTable old = frames_;
    frames_ = next_frames_;
    next_frames_ = {};
    size_.store(next_sections_ << Section::kOrder);
    {
        Guard guard(lock_);
        open_.store(size());
    }
    for (u32 n = before; n < next_sections_; n++) {
        Guard guard(lock_);
        for (Page& page : section(n).pages) {
            page.set(PageFlag::free);
            push_back(free_, page);
        }
    }
    old.free();
}

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

// One that has been in the row before has its descriptors yet.
Status Pool::make_section(u32 number) {
    Section*& place = directory_[number >> kChunkOrder][number % kChunk];
    void* memory = objr_alloc_pages(Section::kOrder);
    void* block = place || !memory ? place : objr_alloc_pages(Section::kBlockOrder);
    if (!memory || !block) {
        objr_free_pages(memory, Section::kOrder);
        return Errno{OBJR_ENOMEM};
    }
    if (!place) {
        place = new (block) Section;
        place->number = number;
    }
    place->memory = memory;
    place->first = Pfn(frame_of(memory));
    return {};
}

// The frames of sections first to end, which are not in the row.
void Pool::give_back(u32 first, u32 end) {
    for (u32 n = first; n < end; n++) {
        objr_free_pages(section(n).memory, Section::kOrder);
        section(n).memory = nullptr;
        objr_cond_resched();
    }
}

// ---- shrinking

// A section at a time: the bound of what may be given out moves with the pages. What becomes free later goes by the bound.
void Pool::close_from(u32 number) {
    for (u32 n = sections(); n-- > number >> Section::kOrder; objr_cond_resched()) {
        move_section(section(n), free_, withdrawn_, section(n).first_number());
    }
}

void Pool::reopen() {
    for (u32 n = open_.load() >> Section::kOrder; n < sections(); n++, objr_cond_resched()) {
        move_section(section(n), withdrawn_, free_, section(n).last_number() + 1);
    }
}

void Pool::move_section(Section& section, PageList& from, PageList& to, u32 open) {
    Guard guard(lock_);
    for (Page& page : section.pages) {
        if (is_in(from, page)) {
            remove(from, page);
            push_back(to, page);
        }
    }
    open_.store(open);
}

// Nobody has one of their pages, and nobody finds one any more; their descriptors stay.
void Pool::shrink() {
    const u32 before = sections();
    const u32 after = open_.load() >> Section::kOrder;
    {
        Guard guard(lock_);
        withdrawn_.first = withdrawn_.last = Page::kNoLink;
        withdrawn_.count.store(0);
    }
    for (u32 n = after; n < before; n++) {
        for (Page& page : section(n).pages) {
            page.lru_prev = Page::kNoLink;
            page.lru_next = Page::kNoLink;
        }
        frames_.numbers[(section(n).first.value >> Section::kOrder) - frames_.first] = kNoSection;
    }
    size_.store(after << Section::kOrder);
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
    u64 blocks = sections();
    while (blocks < kMaxMb && directory_[blocks >> kChunkOrder] && directory_[blocks >> kChunkOrder][blocks % kChunk]) {
        blocks++; // of sections that have gone
    }
    return blocks * Section::kBlockBytes + chunks * kChunk * sizeof(Section*) + frames_.span * sizeof(u32);
}

} // namespace objr
