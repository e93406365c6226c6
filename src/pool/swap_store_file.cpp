// SPDX-License-Identifier: GPL-2.0
// A swap file: slot n is page n of it. It is read through the kernel's page cache, without the inode lock, as a fault may do; and
// written under no lock of the module. What is written is on its device before the page leaves memory, so that an error is seen
// while the contents are still there.
#include "objrmap/swap_store.h"

#include <new>

namespace objr {

namespace {

constexpr u64 kLeastSwapFile = 1u << 20;
constexpr u64 kMostSlots = 1ull << (40 - kPageShift); // as many as other stores may have: 1 TiB

class FileStore final : public SwapStore {
public:
    FileStore(objr_backing* file, u64 slots) : SwapStore(slots), file_(file) {}
    void destroy() override {
        objr_backing_put(file_);
        objr_kvfree(this);
    }
    bool writes_at_once() const override { return false; }
    Status write(u64 slot, const void* page) override {
        return Status::from_int(objr_backing_write_through(file_, slot << kPageShift, page, kPageSize));
    }
    // Cut off meanwhile: its end would read as zeros.
    Status read(u64 slot, void* page) override {
        const Status status = Status::from_int(objr_backing_fill(file_, slot, page));
        return status && objr_backing_size(file_) >> kPageShift <= slot ? Status(Errno{OBJR_EIO}) : status;
    }
    void prefetch(u64 first, u64 count) override {
        objr_backing_willneed(file_, first << kPageShift, count << kPageShift);
    }
    void drop(u64) override {}
    // What the file has on its device is the filesystem's to say.
    Usage usage() const override { return {}; }

private:
    objr_backing* const file_;
};

} // namespace

Result<SwapStore*> create_file_store(objr_backing* file) {
    const u64 bytes = objr_backing_size(file);
    if (bytes < kLeastSwapFile) {
        objr_printk(OBJR_ERR, "the swap file has %llu bytes: give one of at least %llu, with the blocks of its own\n",
                    bytes, kLeastSwapFile);
        objr_backing_put(file);
        return Errno{OBJR_EINVAL};
    }
    void* memory = objr_kvzalloc(sizeof(FileStore));
    if (!memory) {
        objr_backing_put(file);
        return Errno{OBJR_ENOMEM};
    }
    return static_cast<SwapStore*>(new (memory) FileStore(file, min(bytes >> kPageShift, kMostSlots)));
}

} // namespace objr
