// SPDX-License-Identifier: GPL-2.0
// The structure behind answers as a picture, in Graphviz DOT: page -> object -> VMA -> PTE -> mm (process). The object is what the
// scheme has: an anon_vma, an anonmm, a file; under pte_chain the page leads to its entries itself. What leads from the object to
// a VMA is written at the edge, as `explain` names it.
//
// Position 0 is the head of the graph, the positions behind are those of the query, and the tail is at the end. Each answer
// names all the nodes it needs; the graph is `strict`, so what answers have in common is drawn once.
#include "objrmap/inspect.h"

namespace objr {

namespace {

constexpr u64 kTail = (1ull << 62) + 2; // behind every position of a query, which is at most 2^62

constexpr const char* kHead =
    "strict digraph objrmap {\n"
    "  rankdir=LR;\n"
    "  graph [fontname=\"sans-serif\", nodesep=0.25, ranksep=0.7];\n"
    "  node [fontname=\"monospace\", fontsize=10, style=filled, shape=box, color=\"#495057\"];\n"
    "  edge [fontname=\"monospace\", fontsize=9, color=\"#495057\"];\n";

class Drawing {
public:
    Drawing(objr_out* out, const Answer& answer) : out_(out), answer_(answer), page_(answer.facts()) {}

    void draw() {
        page();
        object();
        for (u32 i = 0; i < answer_.row_count(); i++) {
            const Row& row = answer_.row(i);
            vma(row);
            if (row.kind == Row::Kind::candidate) {
                way(row);
            }
            if (row.kind == Row::Kind::mapping || row.miss != Miss::none) {
                entry(row);
                mm(row);
            }
        }
    }

private:
    bool has_object() const { return page_.object.kind != nullptr; }

    void page() {
        const char* kind = page_.kind == PageFacts::Kind::anon   ? "anon"
                           : page_.kind == PageFacts::Kind::file ? "file"
                           : page_.kind == PageFacts::Kind::free ? "free"
                                                                 : "no object";
        objr_out_printf(
            out_, "  page_%u [shape=box3d, fillcolor=\"#ffe066\", label=\"page %u\\npfn 0x%llx\\n%s, mapcount %u\"];\n",
            page_.number, page_.number, page_.pfn.value, kind, page_.mappings);
    }

    void object() {
        if (!has_object()) {
            return;
        }
        const u32 id = page_.object.id;
        if (page_.kind == PageFacts::Kind::anon) {
            objr_out_printf(out_, "  object_%u [shape=ellipse, fillcolor=\"#d0bfff\", label=\"%s %u\"];\n", id,
                            page_.object.kind, id);
        } else {
            objr_out_printf(out_, "  object_%u [shape=folder, fillcolor=\"#a5d8ff\", label=\"file %u\\n", id, id);
            put_dot(out_, page_.name);
            objr_out_printf(out_, "\"];\n");
        }
        objr_out_printf(out_, "  page_%u -> object_%u [label=\"pgoff 0x%llx\"];\n", page_.number, id, page_.index);
    }

    void vma(const Row& row) {
        auto has = [&row](VmFlag flag) { return (row.vm_flags & static_cast<u32>(flag)) != 0; };
        objr_out_printf(
            out_, "  vma_%u [fillcolor=\"#b2f2bb\", label=\"vma %u\\n0x%llx-0x%llx\\n%c%c%c%c pgoff 0x%llx\"];\n",
            row.vma_id, row.vma_id, row.start.value, row.end.value, has(VmFlag::read) ? 'r' : '-',
            has(VmFlag::write) ? 'w' : '-', has(VmFlag::exec) ? 'x' : '-', has(VmFlag::shared) ? 's' : 'p', row.pgoff);
    }

    // How the scheme comes there, whether the page is mapped there or not.
    void way(const Row& row) {
        if (row.why == Why::entry) {
            objr_out_printf(out_, "  page_%u -> pte_%u_%u_%llx [label=\"%s\"];\n", page_.number, page_.number,
                            row.vma_id, row.address.value >> kPageShift, name_of(row.why));
        } else if (has_object()) {
            objr_out_printf(out_, "  object_%u -> vma_%u [label=\"%s\"];\n", page_.object.id, row.vma_id,
                            name_of(row.why));
        }
    }

    // One node for each entry of each page: a VMA may map many pages of a range, a nonlinear one may map a page many times.
    void entry(const Row& row) {
        const Pte pte = row.pte;
        const u64 place = row.address.value >> kPageShift;
        if (row.miss != Miss::none) {
            objr_out_printf(out_,
                            "  pte_%u_%u_%llx [shape=note, style=dashed, color=\"#adb5bd\", fontcolor=\"#868e96\", "
                            "label=\"0x%llx\\n%s\"];\n",
                            page_.number, row.vma_id, place, row.address.value, name_of(row.miss));
        } else {
            objr_out_printf(
                out_,
                "  pte_%u_%u_%llx [shape=note, fillcolor=\"#ffd8a8\", label=\"0x%llx\\npte 0x%llx\\n%s%s%s%s\"];\n",
                page_.number, row.vma_id, place, row.address.value, pte.word(), pte.writable() ? "RW" : "RO",
                row.young ? " young" : "", row.dirty ? " dirty" : "", pte.executable() ? " X" : "");
        }
        const char* style = row.miss == Miss::none ? "" : " [style=dashed, color=\"#adb5bd\"]";
        objr_out_printf(out_, "  vma_%u -> pte_%u_%u_%llx%s;\n", row.vma_id, page_.number, row.vma_id, place, style);
        objr_out_printf(out_, "  pte_%u_%u_%llx -> mm_%u%s;\n", page_.number, row.vma_id, place, row.mm_id, style);
    }

    void mm(const Row& row) {
        objr_out_printf(out_, "  mm_%u [shape=component, fillcolor=\"#ffc9c9\", label=\"mm %u", row.mm_id, row.mm_id);
        if (row.pid != 0) {
            objr_out_printf(out_, "\\npid %u\\n", row.pid);
            put_dot(out_, row.comm);
        }
        objr_out_printf(out_, "\"];\n");
    }

    objr_out* out_;
    const Answer& answer_;
    const PageFacts& page_;
};

void draw(objr_out* out, const Answer& answer) {
    switch (answer.state()) {
    case Answer::State::stands: Drawing(out, answer).draw(); break;
    case Answer::State::no_memory:
        objr_out_printf(out, "  // error no kernel memory: free some and read again\n");
        break;
    case Answer::State::unstable:
    case Answer::State::empty:
        objr_out_printf(out, "  // page %u: retry\n", answer.facts().number); // it changed whenever it was looked at
        break;
    }
}

} // namespace

} // namespace objr

using namespace objr;

extern "C" int objr_show_graph(objr_world* opaque, const objr_query* query, objr_u64* position, objr_out* out) {
    if (*position == 0) {
        objr_out_printf(out, "%s", kHead);
        *position = 1;
        return 1;
    }
    if (*position >= kTail) {
        return 0;
    }
    u64 of_query = *position - 1;
    Answer answer(Candidates::collect);
    Reason reason;
    switch (next_selected(world_of(opaque), *query, &of_query, answer, reason)) {
    case Selected::answer: draw(out, answer); break;
    case Selected::error: objr_out_printf(out, "  // error %s\n", reason.words.c_str()); break;
    case Selected::end:
        objr_out_printf(out, "}\n");
        of_query = kTail - 1;
        break;
    }
    *position = of_query + 1;
    return 1;
}
