// SPDX-License-Identifier: GPL-2.0
// The seam, face two, address spaces: from C handles to Mm and FileMapping. What each call promises is said in shim/module.h.
#include "shim/module.h"

#include "objrmap/mm.h"
#include "objrmap/vmscan.h"
#include "objrmap/world.h"

using namespace objr;

static World& world_of(objr_world* world) { return *reinterpret_cast<World*>(world); }
static Mm& mm_of(objr_mm* mm) { return *reinterpret_cast<Mm*>(mm); }
static FileMapping* file_of(objr_object* object) { return reinterpret_cast<FileMapping*>(object); }

// ---- the world

int objr_world_create(const objr_params* params, objr_world** world) {
    Result<World*> result = World::create(*params);
    if (result) {
        *world = reinterpret_cast<objr_world*>(*result);
    }
    return result.as_int();
}

void objr_world_stop(objr_world* world) { world_of(world).stop_daemons(); }

void objr_world_destroy(objr_world* world) { world_of(world).destroy(); }

// ---- address spaces

int objr_mm_create(objr_world* world, objr_mm** mm) {
    Result<Mm*> result = Mm::create(world_of(world), process_mmu());
    if (result) {
        *mm = reinterpret_cast<objr_mm*>(*result);
    }
    return result.as_int();
}

void objr_mm_put(objr_mm* mm) {
    mm_of(mm).forget_process(); // queries may hold it yet
    mm_of(mm).put();
}

int objr_mm_map(objr_mm* mm, objr_u64 start, objr_u64 end, objr_u64 pgoff, objr_u32 flags, objr_object* object,
                objr_region* region) {
    return mm_of(mm).map(Vaddr(start), Vaddr(end), pgoff, flags, file_of(object), region).as_int();
}

int objr_mm_fork(objr_mm* parent, objr_mm* child, objr_u64 start, objr_u64 end, objr_region* region) {
    return Mm::fork(mm_of(parent), mm_of(child), Vaddr(start), Vaddr(end), region).as_int();
}

int objr_mm_split(objr_mm* mm, objr_u64 address) { return mm_of(mm).split(Vaddr(address)).as_int(); }

int objr_mm_move(objr_mm* mm, objr_u64 from, objr_u64 to, objr_u64 len, objr_region* region) {
    return mm_of(mm).move(Vaddr(from), Vaddr(to), len, region).as_int();
}

void objr_mm_unmap(objr_mm* mm, objr_u64 start, objr_u64 end) {
    Status status = mm_of(mm).unmap(Vaddr(start), Vaddr(end), Translations::gone);
    OBJR_WARN_ON(!status);
}

int objr_mm_protect(objr_mm* mm, objr_u64 start, objr_u64 end, objr_u32 flags) {
    // The kernel side passes all it knows of the VMA; only the rights change.
    return mm_of(mm).protect(Vaddr(start), Vaddr(end), flags & (OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_EXEC)).as_int();
}

int objr_mm_remap(objr_mm* mm, objr_u64 start, objr_u64 len, objr_u64 pgoff, objr_u32 flags) {
    const Populate populate = (flags & OBJR_REMAP_NONBLOCK) != 0 ? Populate::no : Populate::yes;
    return mm_of(mm).remap(Vaddr(start), len, pgoff, populate).as_int();
}

int objr_mm_advise(objr_mm* mm, objr_u64 start, objr_u64 len, objr_u32 advice, objr_u64 most_locked) {
    static constexpr struct {
        objr_u32 number;
        Advice advice;
    } kKnown[] = {{OBJR_ADVISE_NORMAL, Advice::normal},         {OBJR_ADVISE_RANDOM, Advice::random},
                  {OBJR_ADVISE_SEQUENTIAL, Advice::sequential}, {OBJR_ADVISE_WILLNEED, Advice::willneed},
                  {OBJR_ADVISE_DONTNEED, Advice::dontneed},     {OBJR_ADVISE_COLD, Advice::cold},
                  {OBJR_ADVISE_PAGEOUT, Advice::pageout},       {OBJR_ADVISE_LOCK, Advice::lock},
                  {OBJR_ADVISE_UNLOCK, Advice::unlock}};
    for (const auto& known : kKnown) {
        if (known.number == advice) {
            return (objr_advice_changes_vmas(advice) != 0
                        ? mm_of(mm).mark_range(Vaddr(start), Vaddr(start + len), known.advice, most_locked)
                        : mm_of(mm).advise(Vaddr(start), Vaddr(start + len), known.advice))
                .as_int();
        }
    }
    return -OBJR_EINVAL;
}

int objr_mm_populate(objr_mm* mm, objr_u64 start, objr_u64 len) {
    return mm_of(mm).populate_locked(Vaddr(start), Vaddr(start + len)).as_int();
}

int objr_mm_fault(objr_mm* mm, objr_u64 address, objr_u32 fault, objr_u32 vm_flags, void* token) {
    Access access = (fault & OBJR_FAULT_WRITE) != 0  ? Access::write
                    : (fault & OBJR_FAULT_EXEC) != 0 ? Access::exec
                                                     : Access::read;
    const Status status = mm_of(mm).fault_with_flags(Vaddr(address), access, vm_flags, token);
    if (status.error().value == OBJR_EIO) {
        mm_of(mm).note_cut(Vaddr(address));
    }
    return status.as_int();
}

int objr_too_dirty(objr_world* world) { return too_dirty(world_of(world)) ? 1 : 0; }

void objr_throttle(objr_world* world) { throttle(world_of(world)); }

int objr_wait_for_writeback(objr_world* world) { return wait_for_writeback(world_of(world)).as_int(); }

int objr_mm_access(objr_mm* mm, objr_u64 address, void* data, objr_u32 len, int write) {
    Status status = mm_of(mm).access(Vaddr(address), data, len, write != 0 ? Access::write : Access::read);
    return status ? static_cast<int>(len) : status.as_int();
}

// ---- objects

static int object_result(const Result<FileMapping*>& result, objr_object** object) {
    if (result) {
        *object = reinterpret_cast<objr_object*>(*result);
    }
    return result.as_int();
}

int objr_object_of_file(objr_world* world, objr_backing* backing, objr_object** object) {
    return object_result(FileMapping::of_file(world_of(world), backing), object);
}

int objr_object_of_name(objr_world* world, const char* name, objr_u64 size, objr_u32 flags, const objr_owner* owner,
                        objr_object** object) {
    return object_result(FileMapping::of_name(world_of(world), name, size, flags, *owner), object);
}

void objr_object_put(objr_object* object) { file_of(object)->put(); }

int objr_object_sync(objr_object* object, objr_u64 first, objr_u64 last, int datasync) {
    return file_of(object)->sync(first >> kPageShift, last >> kPageShift, datasync != 0).as_int();
}

objr_u64 objr_object_error_sample(objr_object* object) { return file_of(object)->errors().sample(); }

int objr_object_error_check(objr_object* object, objr_u64* sample) {
    return -static_cast<int>(file_of(object)->errors().check(*sample));
}

int objr_object_truncate(objr_object* object, objr_u64 size) { return file_of(object)->truncate(size).as_int(); }

objr_u64 objr_object_size(const objr_object* object) { return reinterpret_cast<const FileMapping*>(object)->size(); }
