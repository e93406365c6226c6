// SPDX-License-Identifier: GPL-2.0
//
// memory_backing.cpp: a regular file made of memory (see memory_backing.h).
//
// Locking: the file's spin lock is a leaf; it takes the class of the innermost lock of the core, because fill is called
// under the core's sleeping locks and calls nothing.
#include "memory_backing.h"

#include <generated/objr-kernel-sizes.h>

struct objr_memory_file {
    alignas(OBJR_ALIGNOF_SPINLOCK) objr_u8 lock[OBJR_SIZEOF_SPINLOCK];
    char name[64]; // immutable
    objr_u8* data; // guarded by lock; zero behind size
    objr_u64 most; // immutable
    objr_u64 size; // guarded by lock
    objr_u32 users; // guarded by lock
    struct {
        objr_u32 calls;
        objr_u32 after;
        int error;
    } ops[OBJR_MEMORY_OPS]; // guarded by lock
    void (*sync_hook)(void*) = nullptr;
    void* sync_context = nullptr;
    void (*hook)(void*); // changed while nobody writes
    void* context;
};

struct objr_backing {
    objr_memory_file* file;
    int writable;
};

namespace {

class Locked {
public:
    explicit Locked(objr_memory_file* file) : file_(file) { objr_spin_lock(file_->lock); }
    ~Locked() { objr_spin_unlock(file_->lock); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

private:
    objr_memory_file* file_;
};

// Bytes of [position, position + bytes) before end.
objr_u64 clipped(objr_u64 position, objr_u64 bytes, objr_u64 end) {
    if (position >= end) {
        return 0;
    }
    return bytes < end - position ? bytes : end - position;
}

// Counts a call; -errno if it is to fail.
int begin_locked(objr_memory_file* file, objr_memory_file_op op) {
    auto& state = file->ops[op];
    state.calls++;
    if (state.error == 0) {
        return 0;
    }
    if (state.after > 0) {
        state.after--;
        return 0;
    }
    return -state.error;
}

void resize_locked(objr_memory_file* file, objr_u64 size) {
    if (size < file->size) {
        __builtin_memset(file->data + size, 0, file->size - size);
    }
    file->size = size;
}

} // namespace

extern "C" {

// ---- the test's side ------------------------------------------------------------------------------------------------

objr_memory_file* objr_memory_file_create(const char* name, objr_u64 size, objr_u64 most, objr_u32 seed) {
    auto* file = static_cast<objr_memory_file*>(objr_kvzalloc(sizeof(objr_memory_file)));
    if (file == nullptr) {
        return nullptr;
    }
    file->most = most > size ? most : size;
    file->data = static_cast<objr_u8*>(objr_kvzalloc(file->most > 0 ? file->most : 1));
    if (file->data == nullptr) {
        objr_kvfree(file);
        return nullptr;
    }
    objr_spin_lock_init(file->lock, OBJR_LOCK_POOL);
    for (unsigned i = 0; i + 1 < sizeof(file->name) && name[i] != '\0'; i++) {
        file->name[i] = name[i];
    }
    for (objr_u64 i = 0; i < size; i++) {
        file->data[i] = objr_memory_file_byte(seed, i);
    }
    file->size = size;
    return file;
}

void objr_memory_file_destroy(objr_memory_file* file) {
    if (file == nullptr) {
        return;
    }
    if (objr_memory_file_users(file) != 0) {
        objr_warn("a memory file is destroyed while backings are open on it", __FILE__, __LINE__);
        return;
    }
    objr_kvfree(file->data);
    objr_kvfree(file);
}

objr_backing* objr_memory_file_open(objr_memory_file* file, int writable) {
    auto* backing = static_cast<objr_backing*>(objr_kvzalloc(sizeof(objr_backing)));
    if (backing == nullptr) {
        return nullptr;
    }
    backing->file = file;
    backing->writable = writable;
    Locked locked(file);
    file->users++;
    return backing;
}

objr_u32 objr_memory_file_users(objr_memory_file* file) {
    Locked locked(file);
    return file->users;
}

objr_u64 objr_memory_file_size(objr_memory_file* file) {
    Locked locked(file);
    return file->size;
}

objr_u64 objr_memory_file_read(objr_memory_file* file, objr_u64 position, void* data, objr_u64 bytes) {
    Locked locked(file);
    const objr_u64 done = clipped(position, bytes, file->size);
    __builtin_memcpy(data, file->data + (done > 0 ? position : 0), done);
    return done;
}

objr_u64 objr_memory_file_write(objr_memory_file* file, objr_u64 position, const void* data, objr_u64 bytes) {
    Locked locked(file);
    const objr_u64 done = clipped(position, bytes, file->size);
    __builtin_memcpy(file->data + (done > 0 ? position : 0), data, done);
    return done;
}

objr_u32 objr_memory_file_calls(objr_memory_file* file, objr_memory_file_op op) {
    Locked locked(file);
    return file->ops[op].calls;
}

void objr_memory_file_fail(objr_memory_file* file, objr_memory_file_op op, int error, objr_u32 after) {
    Locked locked(file);
    file->ops[op].error = error;
    file->ops[op].after = after;
}

void objr_memory_file_on_write(objr_memory_file* file, void (*hook)(void* context), void* context) {
    file->hook = hook;
    file->context = context;
}

void objr_memory_file_on_sync(objr_memory_file* file, void (*hook)(void* context), void* context) {
    file->sync_hook = hook;
    file->sync_context = context;
}

// ---- shim/kernel.h ----------------------------------------------------------------------------------------------------

objr_u64 objr_backing_key(const objr_backing* backing) { return reinterpret_cast<objr_u64>(backing->file); }

objr_u64 objr_backing_size(const objr_backing* backing) { return objr_memory_file_size(backing->file); }

int objr_backing_writable(const objr_backing* backing) { return backing->writable; }

void objr_backing_name(const objr_backing* backing, char* buffer, objr_u32 bytes) {
    if (bytes == 0) {
        return;
    }
    objr_u32 used = 0;
    while (used + 1 < bytes && backing->file->name[used] != '\0') {
        buffer[used] = backing->file->name[used];
        used++;
    }
    buffer[used] = '\0';
}

int objr_backing_fill(objr_backing* backing, objr_u64 pgoff, void* page) {
    objr_memory_file* file = backing->file;
    objr_might_sleep();
    Locked locked(file);
    if (const int error = begin_locked(file, OBJR_MEMORY_FILL)) {
        return error;
    }
    // Behind the largest possible file nothing can be, and the shift must not wrap.
    const objr_u64 position = pgoff < (file->most >> OBJR_PAGE_SHIFT) + 1 ? pgoff << OBJR_PAGE_SHIFT : file->most;
    const objr_u64 bytes = clipped(position, OBJR_PAGE_SIZE, file->size);
    if (bytes > 0) {
        __builtin_memcpy(page, file->data + position, bytes);
    }
    __builtin_memset(static_cast<objr_u8*>(page) + bytes, 0, OBJR_PAGE_SIZE - bytes);
    return 0;
}

int objr_backing_write(objr_backing* backing, objr_u64 pos, const void* data, objr_u32 len) {
    objr_memory_file* file = backing->file;
    objr_might_sleep();
    if (file->hook) {
        file->hook(file->context);
    }
    Locked locked(file);
    if (const int error = begin_locked(file, OBJR_MEMORY_WRITE)) {
        return error;
    }
    if (pos > file->most || len > file->most - pos) {
        return -OBJR_ENOSPC;
    }
    if (pos + len > file->size) {
        resize_locked(file, pos + len);
    }
    __builtin_memcpy(file->data + pos, data, len);
    return 0;
}

int objr_backing_write_through(objr_backing* backing, objr_u64 pos, const void* data, objr_u32 len) {
    const objr_u64 size = objr_memory_file_size(backing->file);
    return pos > size || len > size - pos ? -OBJR_EIO : objr_backing_write(backing, pos, data, len);
}

void objr_backing_willneed(objr_backing*, objr_u64, objr_u64) { objr_might_sleep(); }

int objr_backing_sync(objr_backing* backing, objr_u64, objr_u64, int) {
    objr_memory_file* file = backing->file;
    objr_might_sleep();
    int error = 0;
    {
        Locked locked(file);
        error = begin_locked(file, OBJR_MEMORY_SYNC);
    }
    if (file->sync_hook) {
        file->sync_hook(file->sync_context);
    }
    return error;
}

int objr_backing_truncate(objr_backing* backing, objr_u64 size) {
    objr_memory_file* file = backing->file;
    objr_might_sleep();
    Locked locked(file);
    if (const int error = begin_locked(file, OBJR_MEMORY_TRUNCATE)) {
        return error;
    }
    if (size > file->most) {
        return -OBJR_ENOSPC;
    }
    resize_locked(file, size);
    return 0;
}

void objr_backing_put(objr_backing* backing) {
    objr_memory_file* file = backing->file;
    objr_might_sleep();
    {
        Locked locked(file);
        file->users--;
    }
    objr_kvfree(backing);
}
}
