// SPDX-License-Identifier: GPL-2.0
// Pins: pages that somebody writes to by their frame (Linux: mm/gup.c:pin_user_pages, mm_types.h:GUP_PIN_COUNTING_BIAS).
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

// Under the table lock the page is seen to be the process's own and gets its pin; who unmaps it looks for pins under that lock,
// and fork holds the Mm's.
static Page* pin_exclusive(Mm& mm, Vaddr address) {
    World& world = mm.world();
    SharedGuard quiesce(world.quiesce);
    SharedGuard guard(mm.lock());
    PageTable* table = mm.find(address) ? mm.tables().leaf(address) : nullptr;
    if (!table) {
        return nullptr;
    }
    Guard table_guard(table->lock);
    const Pte pte = table->get(address);
    Page* page = pte.is_present() && pte.writable() ? world.pool.page_of(pte.pfn()) : nullptr;
    if (!page || !page->has(PageFlag::anon_exclusive)) {
        return nullptr;
    }
    page->refcount.fetch_add(Page::kPin);
    return page;
}

Result<Page*> pin_page(Mm& mm, Vaddr address) {
    address = page_start(address);
    for (;; objr_cond_resched()) {
        {
            SharedGuard quiesce(mm.world().quiesce);
            SharedGuard guard(mm.lock());
            if (const Vma* vma = mm.find(address); vma && !vma->copies_on_write()) {
                return Errno{OBJR_EINVAL};
            }
        }
        OBJR_TRY_STATUS(mm.populate(address, Access::write));
        if (Page* page = pin_exclusive(mm, address)) {
            return page;
        }
    }
}

void unpin_page(World& world, Page& page) {
    page.refcount.fetch_sub(Page::kPin - 1);
    world.pool.put(page);
}

} // namespace objr
