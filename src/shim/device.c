// SPDX-License-Identifier: GPL-2.0
/*
 * device.c: /dev/objrmap: its open files and their ioctls. What mmap does is in process_vma.c.
 *
 * Each open file has a pseudo inode of its own, so that its mappings are found by i_mmap without those of others. The
 * module cannot be unloaded while a file is open or mapped: VMAs hold their file, files hold their module.
 *
 * Locking: objr_file.lock (spin) guards what the file is bound to. User memory is read and written under no lock at
 * all: it may be memory of the pool, and fault into this very driver.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "process.h"
#include "uapi/objrmap.h"

#define OBJR_FS_MAGIC 0x6f626a72 /* "objr" */
#define OBJR_WHO_MAX 65536u /* entries of one answer of OBJRMAP_IOC_WHO */

static struct objr_world *objr_device_world;
static struct vfsmount *objr_fs_mount;

/* ---- pseudo inodes ------------------------------------------------------------------------------------------- */

static int objr_fs_init_context(struct fs_context *context)
{
	return init_pseudo(context, OBJR_FS_MAGIC) ? 0 : -ENOMEM;
}

/* No owner: the mount of objr_device_init would keep the module from ever being unloaded. */
static struct file_system_type objr_fs = {
	.name = "objrmap",
	.init_fs_context = objr_fs_init_context,
	.kill_sb = kill_anon_super,
};

/* ---- open and close ------------------------------------------------------------------------------------------ */

static int objr_file_open(struct inode *inode, struct file *filp)
{
	struct objr_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	file->inode = alloc_anon_inode(objr_fs_mount->mnt_sb);
	if (IS_ERR(file->inode)) {
		int error = PTR_ERR(file->inode);

		kfree(file);
		return error;
	}
	spin_lock_init(&file->lock);
	file->world = objr_device_world;
	filp->private_data = file;
	filp->f_mapping = file->inode->i_mapping;
	return nonseekable_open(inode, filp);
}

static int objr_file_release(struct inode *inode, struct file *filp)
{
	struct objr_file *file = filp->private_data;

	if (file->object)
		objr_object_put(file->object);
	iput(file->inode);
	kfree(file);
	return 0;
}

/*
 * msync(MS_SYNC) and fsync; first and last are bytes, inclusive. An error of this one is among those since the sample
 * as well: it is told once.
 */
static int objr_file_fsync(struct file *filp, loff_t first, loff_t last, int datasync)
{
	struct objr_file *file = filp->private_data;

	int error, earlier;

	if (!file->object)
		return 0;
	error = objr_object_sync(file->object, first, last, datasync);
	spin_lock(&file->lock);
	earlier = objr_object_error_check(file->object, &file->errors_seen);
	spin_unlock(&file->lock);
	return error ? error : earlier;
}

/* ---- binding to an object ------------------------------------------------------------------------------------- */

static bool objr_file_is_fresh(struct objr_file *file)
{
	bool fresh;

	spin_lock(&file->lock);
	fresh = !file->object && !file->maps;
	spin_unlock(&file->lock);
	return fresh;
}

/* Consumes the reference of object. */
static int objr_file_bind(struct objr_file *file, struct objr_object *object, bool shared, bool writable)
{
	bool fresh;

	spin_lock(&file->lock);
	fresh = !file->object && !file->maps;
	if (fresh) {
		file->object = object;
		file->shared = shared;
		file->writable = writable;
		file->errors_seen = objr_object_error_sample(object);
	}
	spin_unlock(&file->lock);
	if (fresh)
		return 0;
	objr_object_put(object);
	return -EBUSY;
}

static long objr_ioctl_file(struct objr_file *file, const void __user *user)
{
	struct objrmap_file arg;
	struct objr_backing *backing;
	struct objr_object *object;
	bool shared, writable;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~OBJRMAP_PRIVATE)
		return -EINVAL;
	if (!objr_file_is_fresh(file))
		return -EBUSY;

	shared = !(arg.flags & OBJRMAP_PRIVATE);
	error = objr_backing_open(arg.fd, shared, &backing);
	if (error)
		return error;
	writable = objr_backing_writable(backing);
	error = objr_object_of_file(file->world, backing, &object);
	if (error)
		return error;
	return objr_file_bind(file, object, shared, writable);
}

static long objr_ioctl_object(struct objr_file *file, const void __user *user)
{
	const struct cred *cred = current_cred();
	struct objr_owner owner = {
		.uid = from_kuid(&init_user_ns, cred->fsuid),
		.gid = from_kgid(&init_user_ns, cred->fsgid),
		.is_root = ns_capable_noaudit(&init_user_ns, CAP_DAC_OVERRIDE),
	};
	struct objrmap_object arg;
	struct objr_object *object;
	u32 flags;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~(OBJRMAP_PRIVATE | OBJRMAP_CREATE | OBJRMAP_EXCL) || arg.reserved)
		return -EINVAL;
	if (arg.flags & OBJRMAP_EXCL && !(arg.flags & OBJRMAP_CREATE))
		return -EINVAL;
	if (strnlen(arg.name, sizeof(arg.name)) == sizeof(arg.name))
		return -EINVAL;
	if (arg.size > MAX_LFS_FILESIZE)
		return -EINVAL;
	if (!objr_file_is_fresh(file))
		return -EBUSY;

	flags = (arg.flags & OBJRMAP_CREATE ? OBJR_OBJECT_CREATE : 0) |
		(arg.flags & OBJRMAP_EXCL ? OBJR_OBJECT_EXCL : 0);
	error = objr_object_of_name(file->world, arg.name, arg.size, flags, &owner, &object);
	if (error)
		return error;
	return objr_file_bind(file, object, !(arg.flags & OBJRMAP_PRIVATE), true);
}

static long objr_ioctl_truncate(struct objr_file *file, struct file *filp, const void __user *user)
{
	struct objrmap_truncate arg;
	struct objr_object *object;
	bool allowed;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.size > MAX_LFS_FILESIZE)
		return -EINVAL;

	spin_lock(&file->lock);
	object = file->object;
	allowed = file->shared && file->writable;
	spin_unlock(&file->lock);
	if (!object)
		return -EINVAL;
	if (!allowed || !(filp->f_mode & FMODE_WRITE))
		return -EACCES;
	return objr_object_truncate(object, arg.size);
}

/* ---- who maps this page --------------------------------------------------------------------------------------- */

/* The answer as the core gives it and as the program gets it are laid out alike. */
static_assert(sizeof(struct objr_mapper) == sizeof(struct objrmap_mapper));
static_assert(offsetof(struct objr_mapper, pid) == offsetof(struct objrmap_mapper, pid));
static_assert(offsetof(struct objr_mapper, mm) == offsetof(struct objrmap_mapper, mm));
static_assert(offsetof(struct objr_mapper, address) == offsetof(struct objrmap_mapper, addr));

static int objr_who(u64 address, struct objr_mapper *out, u32 max)
{
	struct objr_process_mm *pmm = objr_process_mm_find(current->mm);
	int all = ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN);
	int total;

	if (!pmm)
		return -ENOENT;
	total = objr_mm_who(pmm->core, address & PAGE_MASK, all, out, max);
	objr_process_mm_unuse(pmm);
	return total;
}

static long objr_ioctl_who(void __user *user)
{
	struct objrmap_who arg;
	struct objr_mapper *out;
	long result = 0;
	int total;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.count > OBJR_WHO_MAX)
		return -EINVAL;
	out = kvcalloc(max(arg.count, 1u), sizeof(*out), GFP_KERNEL_ACCOUNT);
	if (!out)
		return -ENOMEM;

	total = objr_who(arg.addr, out, arg.count);
	if (total < 0) {
		result = total;
	} else {
		arg.count = min_t(u32, arg.count, total);
		arg.total = total;
		if (copy_to_user(u64_to_user_ptr(arg.out), out, arg.count * sizeof(*out)) ||
		    copy_to_user(user, &arg, sizeof(arg)))
			result = -EFAULT;
	}
	kvfree(out);
	return result;
}

static long objr_file_ioctl(struct file *filp, unsigned int command, unsigned long argument)
{
	struct objr_file *file = filp->private_data;
	void __user *user = (void __user *)argument;

	switch (command) {
	case OBJRMAP_IOC_FILE:
		return objr_ioctl_file(file, user);
	case OBJRMAP_IOC_OBJECT:
		return objr_ioctl_object(file, user);
	case OBJRMAP_IOC_TRUNCATE:
		return objr_ioctl_truncate(file, filp, user);
	case OBJRMAP_IOC_WHO:
		return objr_ioctl_who(user);
	case OBJRMAP_IOC_REMAP:
		return objr_ioctl_remap(user);
	case OBJRMAP_IOC_ADVISE:
		return objr_ioctl_advise(user);
	default:
		return -ENOTTY;
	}
}

/* ---- the device ---------------------------------------------------------------------------------------------- */

static const struct file_operations objr_file_operations = {
	.owner = THIS_MODULE,
	.open = objr_file_open,
	.release = objr_file_release,
	.mmap = objr_file_mmap,
	.fsync = objr_file_fsync,
	.unlocked_ioctl = objr_file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice objr_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "objrmap",
	.fops = &objr_file_operations,
};

int objr_device_init(struct objr_world *world, umode_t mode)
{
	int error;

	objr_fs_mount = kern_mount(&objr_fs);
	if (IS_ERR(objr_fs_mount))
		return PTR_ERR(objr_fs_mount);
	objr_device_world = world;
	objr_device.mode = mode;
	error = misc_register(&objr_device);
	if (error)
		kern_unmount(objr_fs_mount);
	return error;
}

void objr_device_exit(void)
{
	misc_deregister(&objr_device);
	kern_unmount(objr_fs_mount);
}
