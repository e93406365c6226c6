// SPDX-License-Identifier: GPL-2.0
/*
 * backing.c: the real files behind objects.
 *
 * A backing is an open file of its own, made from the path of the caller's descriptor: what a program later sets on
 * that descriptor (O_APPEND, O_DIRECT) does not change where our writes go. It is read through the page cache, without
 * the inode lock, so that a fault may fill a page while a write() to the very file waits for that fault.
 *
 * Context: everything sleeps but key, size and writable. objr_backing_write, _sync and _truncate take locks of the
 * filesystem: never from a fault, nor under mmap_lock.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/fadvise.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/magic.h>
#include <linux/pagemap.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <uapi/linux/fcntl.h>

#include "compat.h"
#include "process.h"

struct objr_backing {
	struct file *file;
	bool writable; /* shared, and the descriptor was open for writing */
	bool swap; /* ours alone to write to */
};

/* What lies under the swap space lies under no object. Set while nobody can ask. */
static const struct inode *objr_swap_inode;

/* ---- open and put -------------------------------------------------------------------------------------------- */

static bool objr_is_shmem(const struct inode *inode)
{
	return IS_ENABLED(CONFIG_SHMEM) && inode->i_sb->s_magic == TMPFS_MAGIC;
}

/* May this file lie behind an object? */
static int objr_backing_check(const struct file *file)
{
	const struct address_space *mapping = file->f_mapping;
	struct inode *inode = file_inode(file);

	if (!S_ISREG(inode->i_mode))
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (inode == objr_swap_inode)
		return -EPERM;
	if (file->f_flags & O_APPEND || IS_APPEND(inode) || IS_IMMUTABLE(inode) || IS_SWAPFILE(inode))
		return -EPERM;
	if (IS_DAX(inode))
		return -EOPNOTSUPP;
	if (objr_is_shmem(inode)) {
		unsigned int seals = READ_ONCE(SHMEM_I(inode)->seals);

		if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW))
			return -EPERM;
	} else if (!mapping->a_ops || !mapping->a_ops->read_folio ||
		   inode->i_sb->s_iflags & SB_I_NOEXEC || inode->i_sb->s_magic == FUSE_SUPER_MAGIC) {
		/*
		 * The files of /proc, /sys and the like are made as they are read: no cache, or one of zeros.
		 * A fault that fills a page waits under locks of the core: the program that serves a FUSE file
		 * must not be waited for there, it may fault on the pool itself.
		 */
		pr_notice_ratelimited("a file on %s cannot lie behind pool memory: use one on a disk filesystem or tmpfs\n",
				      inode->i_sb->s_type->name);
		return -EOPNOTSUPP;
	}
	return 0;
}

/* A backing made of an open file, which it takes over; in case of an error the file is put. */
static int objr_backing_make(struct file *file, bool writable, struct objr_backing **result)
{
	struct objr_backing *backing;
	int error = -ENOMEM;

	backing = kzalloc(sizeof(*backing), GFP_KERNEL_ACCOUNT);
	if (!backing)
		goto undo;
	/* As a shared writable mapping does: nobody may seal the file against writing from now on. */
	if (writable) {
		error = mapping_map_writable(file->f_mapping);
		if (error)
			goto undo;
	}
	backing->file = file;
	backing->writable = writable;
	*result = backing;
	return 0;

undo:
	kfree(backing);
	fput(file);
	return error;
}

static int objr_backing_of(struct file *file, bool shared, struct objr_backing **result)
{
	bool writable = shared && file->f_mode & FMODE_WRITE;
	struct file *own;
	int error = objr_backing_check(file);

	if (error)
		return error;
	own = dentry_open(&file->f_path, (writable ? O_RDWR : O_RDONLY) | O_LARGEFILE,
			  file->f_cred);
	if (IS_ERR(own))
		return PTR_ERR(own);
	return objr_backing_make(own, writable, result);
}

int objr_backing_open(int fd, bool shared, struct objr_backing **backing)
{
	struct file *file = fget(fd);
	int error;

	if (!file)
		return -EBADF;
	error = objr_backing_of(file, shared, backing);
	fput(file);
	return error;
}

/*
 * From one writer, which is us, to a file that nobody else may open for writing, and back: our part of the count goes
 * from 1 to -1 in one step, so that nobody comes between.
 */
static int objr_backing_deny_others(struct objr_backing *backing)
{
	struct inode *inode = file_inode(backing->file);

	if (atomic_cmpxchg(&inode->i_writecount, 1, -1) != 1)
		return -ETXTBSY;
	backing->swap = true;
	objr_swap_inode = inode;
	return 0;
}

static void objr_backing_allow_others(struct objr_backing *backing)
{
	objr_swap_inode = NULL;
	atomic_add(2, &file_inode(backing->file)->i_writecount);
}

int objr_backing_open_swap(const char *path, struct objr_backing **result)
{
	struct file *file = filp_open(path, O_RDWR | O_LARGEFILE, 0);
	struct objr_backing *backing;
	int error;

	if (IS_ERR(file))
		return PTR_ERR(file);
	error = objr_backing_check(file);
	if (error) {
		fput(file);
		return error;
	}
	error = objr_backing_make(file, true, &backing);
	if (error)
		return error;
	error = objr_backing_deny_others(backing);
	if (error) {
		objr_backing_put(backing);
		return error;
	}
	*result = backing;
	return 0;
}

void objr_backing_put(struct objr_backing *backing)
{
	if (backing->swap)
		objr_backing_allow_others(backing);
	if (backing->writable)
		mapping_unmap_writable(backing->file->f_mapping);
	fput(backing->file);
	kfree(backing);
}

/* ---- what it is ---------------------------------------------------------------------------------------------- */

static struct inode *objr_backing_inode(const struct objr_backing *backing)
{
	return backing->file->f_mapping->host;
}

u64 objr_backing_key(const struct objr_backing *backing)
{
	return (uintptr_t)objr_backing_inode(backing);
}

u64 objr_backing_size(const struct objr_backing *backing)
{
	return i_size_read(objr_backing_inode(backing));
}

int objr_backing_writable(const struct objr_backing *backing)
{
	return backing->writable;
}

void objr_backing_name(const struct objr_backing *backing, char *buffer, u32 bytes)
{
	scnprintf(buffer, bytes, "%pd", backing->file->f_path.dentry);
}

/* ---- contents ------------------------------------------------------------------------------------------------ */

/* The page cache's page, up to date, with a reference. */
static struct page *objr_backing_page(struct objr_backing *backing, pgoff_t pgoff)
{
	struct address_space *mapping = backing->file->f_mapping;

	if (objr_is_shmem(mapping->host))
		return shmem_read_mapping_page(mapping, pgoff);
	return read_mapping_page(mapping, pgoff, backing->file);
}

int objr_backing_fill(struct objr_backing *backing, u64 pgoff, void *to)
{
	u64 start = pgoff << PAGE_SHIFT;
	u64 size = objr_backing_size(backing);
	struct page *page;
	u32 valid;
	void *from;

	if (pgoff > (u64)MAX_LFS_FILESIZE >> PAGE_SHIFT || start >= size)
		return -EIO;
	page = objr_backing_page(backing, pgoff);
	if (IS_ERR(page))
		return PTR_ERR(page) == -ENOMEM ? -ENOMEM : -EIO;

	/* The file may have become shorter, or longer, meanwhile: bytes beyond its end are zero. */
	size = objr_backing_size(backing);
	valid = start < size ? min_t(u64, size - start, PAGE_SIZE) : 0;
	from = kmap_local_page(page);
	memcpy(to, from, valid);
	memset(to + valid, 0, PAGE_SIZE - valid);
	kunmap_local(from);
	put_page(page);
	return valid ? 0 : -EIO;
}

struct objr_backing_write {
	struct work_struct work;
	struct objr_backing *backing;
	u64 pos;
	const void *data;
	u32 len;
	int error;
};

static int objr_backing_write_now(struct objr_backing *backing, u64 pos, const void *data, u32 len)
{
	u64 size = objr_backing_size(backing);
	const struct cred *caller;
	loff_t at = pos;
	ssize_t written = 0;

	if (!backing->writable)
		return -EACCES;
	/* What was cut off behind our back is not brought back by writing to it. */
	if (pos >= size)
		return 0;
	len = min_t(u64, len, size - pos);
	/* In whatever thread the write-back happens: with the rights of who opened the file. */
	caller = override_creds(backing->file->f_cred);
	while (len) {
		written = kernel_write(backing->file, data, len, &at);
		if (written <= 0)
			break;
		data += written;
		len -= written;
	}
	revert_creds(caller);
	if (!len)
		return 0;
	return written ? written : -EIO;
}

static void objr_backing_write_run(struct work_struct *work)
{
	struct objr_backing_write *write = container_of(work, struct objr_backing_write, work);

	write->error = objr_backing_write_now(write->backing, write->pos, write->data, write->len);
}

/*
 * By a thread of the kernel's: what becomes of pages that others have written, too, is not for the limits of
 * whoever asks for it (RLIMIT_FSIZE) to say, nor for a signal that kills him.
 */
int objr_backing_write(struct objr_backing *backing, u64 pos, const void *data, u32 len)
{
	struct objr_backing_write write = { .backing = backing, .pos = pos, .data = data, .len = len };

	if (current->flags & PF_KTHREAD)
		return objr_backing_write_now(backing, pos, data, len);
	INIT_WORK_ONSTACK(&write.work, objr_backing_write_run);
	queue_work(system_unbound_wq, &write.work);
	flush_work(&write.work);
	destroy_work_on_stack(&write.work);
	return write.error;
}

int objr_backing_write_through(struct objr_backing *backing, u64 pos, const void *data, u32 len)
{
	u64 size = objr_backing_size(backing);
	int error;

	if (pos > size || len > size - pos)
		return -EIO;
	error = objr_backing_write(backing, pos, data, len);
	if (error)
		return error;
	return filemap_write_and_wait_range(backing->file->f_mapping, pos, pos + len - 1);
}

void objr_backing_willneed(struct objr_backing *backing, u64 pos, u64 len)
{
	vfs_fadvise(backing->file, pos, len, POSIX_FADV_WILLNEED);
}

int objr_backing_sync(struct objr_backing *backing, u64 first, u64 last, int datasync)
{
	return vfs_fsync_range(backing->file, first, min_t(u64, last, LLONG_MAX), datasync);
}

int objr_backing_truncate(struct objr_backing *backing, u64 size)
{
	struct inode *inode = objr_backing_inode(backing);
	struct iattr attr = {
		.ia_valid = ATTR_SIZE | ATTR_MTIME | ATTR_CTIME | ATTR_FILE,
		.ia_size = size,
		.ia_file = backing->file,
	};
	int error;

	if (!backing->writable)
		return -EACCES;
	if (size > MAX_LFS_FILESIZE)
		return -EINVAL;
	if (IS_APPEND(inode))
		return -EPERM;

	sb_start_write(inode->i_sb);
	inode_lock(inode);
	error = file_remove_privs(backing->file);
	if (!error)
		error = objr_compat_notify_change(backing->file, &attr);
	inode_unlock(inode);
	sb_end_write(inode->i_sb);
	return error;
}
