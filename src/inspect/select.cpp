// SPDX-License-Identifier: GPL-2.0
// From a selector to pages and their answers, one by one; and the query file made of them.
//
// Positions: of a range the distance from its first page, of a file name the id of the next file to look at, else 0 or 1.
#include "objrmap/inspect.h"

namespace objr {

namespace {

constexpr u64 kBehindAll = 1ull << 62; // of every stream; fits a file position

// Visit until it is done. locate() -> Page* with a reference, called with quiesce held for read; nullptr: there is no page
// (any more). False: there was none.
template <class Locate>
bool visit_located(World& world, PageVisitor& visitor, Locate&& locate) {
    for (u32 attempt = 0; attempt < Answer::kAttempts; attempt++) {
        PageVisitor::Step step;
        visitor.prepare();
        {
            SharedGuard quiesce(world.quiesce);
            Page* page = locate();
            if (!page) {
                return false;
            }
            step = visitor.visit(world, *page);
            world.pool.put(*page);
        }
        if (step == PageVisitor::Step::done) {
            break;
        }
        objr_cond_resched();
    }
    return true;
}

const char* why_not_there(Pte pte) {
    return pte.is_none()     ? " has not touched it yet: the entry is empty"
           : pte.is_file()   ? " has not touched it since a remap or its unmapping: the entry names a page of the file"
           : pte.is_swap()   ? " has it swapped out: touch it, or ask for another"
           : pte.is_poison() ? " has lost it there: its memory has failed"
           : pte.is_migration() ? " has it on its way to another frame: ask again"
                                : " has an entry that is not present there";
}

// The page that mm maps at address, referenced; nullptr: the reason says why there is none.
Page* locate_at(World& world, Mm& mm, Vaddr address, Words& reason) {
    SharedGuard guard(mm.lock());
    const char* why = nullptr;
    if (!mm.find(address)) {
        why = " maps nothing there";
    } else if (PageTable* table = mm.tables().leaf(address); !table) {
        why = " has not touched it yet: no page table";
    } else {
        Guard table_guard(table->lock);
        const Pte pte = table->get(address);
        Page* page = pte.is_present() ? world.pool.page_of(pte.pfn()) : nullptr;
        if (page && world.pool.try_get(*page)) {
            return page;
        }
        why = why_not_there(pte);
    }
    reason.add("no page at ").hex(address.value).add(": mm ").decimal(mm.id()).add(why);
    return nullptr;
}

Selected answer_at(World& world, Mm& mm, u64 address, PageVisitor& visitor, Words& reason) {
    const Vaddr page_address = page_start(Vaddr(address));
    WordsOf<200> why; // of the last attempt
    const bool found = visit_located(world, visitor, [&] { return locate_at(world, mm, page_address, why.words); });
    if (!found) {
        reason.add(why.words.c_str());
    }
    return found ? Selected::answer : Selected::error;
}

Mm* mm_of_process(World& world, u64 process) {
    for (u64 id = 0;; id++) {
        Mm* mm = world.get_mm_from(id);
        if (!mm || mm->process() == process) {
            return mm;
        }
        mm->put();
        objr_cond_resched();
    }
}

Mm* get_mm_of_pid(World& world, u64 pid, Words& reason) {
    const u64 process = objr_mm_of_pid(static_cast<u32>(pid));
    if (process == 0) {
        reason.add("no process ").decimal(pid).add(" with an address space");
        return nullptr;
    }
    Mm* mm = mm_of_process(world, process);
    if (!mm) {
        reason.add("pid ").decimal(pid).add(" maps nothing of the pool");
    }
    return mm;
}

Mm* get_mm_of_id(World& world, u64 wanted, Words& reason) {
    u64 id = wanted;
    Mm* mm = world.get_mm_from(id);
    if (mm && id == wanted) {
        return mm;
    }
    reason.add("no mm ").decimal(wanted).add(": the file mms lists them");
    if (mm) {
        mm->put();
    }
    return nullptr;
}

Selected select_address(World& world, const objr_query& query, PageVisitor& visitor, Words& reason) {
    Mm* mm = get_selected_mm(world, query, reason);
    if (!mm) {
        return Selected::error;
    }
    const Selected result = answer_at(world, *mm, query.address, visitor, reason);
    mm->put();
    return result;
}

// The first file from *id on with this name, held.
FileMapping* file_of_name(World& world, const char* name, u64* id) {
    for (;; ++*id) {
        FileMapping* file = world.hold_file_from(*id);
        if (!file || same_text(file->name(), name)) {
            return file;
        }
        file->let_go();
        objr_cond_resched();
    }
}

Selected select_file(World& world, const objr_query& query, u64* position, PageVisitor& visitor, Words& reason) {
    u64 id = *position;
    FileMapping* file = file_of_name(world, query.name, &id);
    if (!file) {
        const bool first = *position == 0;
        *position = kBehindAll;
        if (first) {
            reason.add("no file or object named ").escaped(query.name, __builtin_strlen(query.name), 64);
            reason.add(": the file `files` lists them");
        }
        return first ? Selected::error : Selected::end;
    }
    *position = id + 1;
    const bool found = visit_located(world, visitor, [&] { return file->find_page(query.first); });
    if (!found) {
        reason.add("no page at pgoff ").hex(query.first).add(" of file ").decimal(id);
        SwapEntry entry{};
        u64 at = query.first;
        reason.add(query.first >= file->size_in_pages()         ? ": it is beyond the end"
                   : file->swapped_from(at, entry, query.first) ? ": it is swapped out"
                                                                : ": it is not in memory");
    }
    file->let_go();
    return found ? Selected::answer : Selected::error;
}

void visit_number(World& world, u32 number, PageVisitor& visitor) {
    Page& page = world.pool.page(number);
    if (!visit_located(world, visitor, [&] { return world.pool.try_get(page) ? &page : nullptr; })) {
        visitor.visit_free(world, page);
    }
}

Selected select_page(World& world, u64 number, PageVisitor& visitor, Words& reason) {
    if (number >= world.pool.size()) {
        reason.add("no page ").decimal(number).add(": the pool has pages 0 to ").decimal(world.pool.size() - 1);
        return Selected::error;
    }
    visit_number(world, static_cast<u32>(number), visitor);
    return Selected::answer;
}

Selected select_pfn(World& world, u64 pfn, PageVisitor& visitor, Words& reason) {
    const Page* page;
    {
        SharedGuard quiesce(world.quiesce); // the pool may become smaller
        page = world.pool.page_of(Pfn(pfn));
    }
    if (page) {
        visit_number(world, world.pool.number(*page), visitor);
        return Selected::answer;
    }
    reason.add("pfn ").hex(pfn).add(" is not in the pool: the file pages lists those in use");
    return Selected::error;
}

Selected select_range(World& world, const objr_query& query, u64* position, PageVisitor& visitor, Words& reason) {
    const u64 last = min<u64>(query.last, world.pool.size() - 1);
    if (*position != 0 && (query.first > last || *position > last - query.first)) {
        return Selected::end;
    }
    const u64 number = query.first + (*position)++;
    return select_page(world, number, visitor, reason);
}

// Asks the reverse map until the answer stands; else the answer says retry.
class AnswerTaker final : public PageVisitor {
public:
    explicit AnswerTaker(Answer& answer) : answer_(answer) {}
    void prepare() override { answer_.release(); }
    Step visit(World& world, Page& page) override {
        return answer_.take(world, page) == Answer::State::unstable ? Step::again : Step::done;
    }
    void visit_free(World& world, const Page& page) override { answer_.take_free(world, page); }

private:
    Answer& answer_;
};

void find_owners(Answer& answer) {
    if (answer.state() == Answer::State::stands) {
        answer.find_owners();
    }
}

} // namespace

Mm* get_selected_mm(World& world, const objr_query& query, Words& reason) {
    return kind_of(query) == QueryKind::pid ? get_mm_of_pid(world, query.first, reason)
                                            : get_mm_of_id(world, query.first, reason);
}

void answer_page(World& world, u32 number, Answer& answer) {
    AnswerTaker taker(answer);
    visit_number(world, number, taker);
    find_owners(answer);
}

Selected next_selected(World& world, const objr_query& query, u64* position, Answer& answer, Reason& reason) {
    AnswerTaker taker(answer);
    const Selected result = visit_selected(world, query, position, taker, reason.words);
    find_owners(answer);
    return result;
}

Selected visit_selected(World& world, const objr_query& query, u64* position, PageVisitor& visitor, Words& words) {
    const QueryKind kind = kind_of(query);
    if (kind == QueryKind::range) {
        return select_range(world, query, position, visitor, words);
    }
    if (kind == QueryKind::file) {
        return select_file(world, query, position, visitor, words);
    }
    if (*position != 0) {
        return Selected::end;
    }
    *position = 1;
    switch (kind) {
    case QueryKind::pfn: return select_pfn(world, query.first, visitor, words);
    case QueryKind::page: return select_page(world, query.first, visitor, words);
    case QueryKind::pid:
    case QueryKind::mm: return select_address(world, query, visitor, words);
    default: break;
    }
    words.add(query.message[0] != '\0' ? query.message : "nothing selected");
    return Selected::error;
}

} // namespace objr

using namespace objr;

extern "C" int objr_show_query(objr_world* opaque, const objr_query* query, objr_u64* position, objr_out* out) {
    Answer answer(wants(*query, QueryOption::explain) ? Candidates::collect : Candidates::ignore);
    Reason reason;
    switch (next_selected(world_of(opaque), *query, position, answer, reason)) {
    case Selected::answer: show_answer(out, answer, format_of(*query)); return 1;
    case Selected::error: show_error(out, reason.words.c_str(), format_of(*query)); return 1;
    case Selected::end: break;
    }
    return 0;
}
