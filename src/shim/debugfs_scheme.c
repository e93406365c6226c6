// SPDX-License-Identifier: GPL-2.0
/*
 * debugfs_scheme.c: the file scheme: which there are, which is in force; a name that is written is switched to.
 *
 * A switch that was refused is explained to who asked for it: the next read of that open file is one line, `error ...`,
 * until something else is written there. All others read the list.
 *
 * Locking: seq_file's mutex guards the reason. The switch itself runs under no lock of this file.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "shim/module.h"
#include "debugfs.h"
#include "text.h"

#define OBJR_SCHEME_NAME_MAX 63

/* One open file. */
struct objr_scheme_file {
	struct objr_world *world; /* immutable */
	char why[200]; /* the last switch was refused, empty: it was not; guarded by seq_file's mutex */
};

static int objr_scheme_show(struct seq_file *seq, void *unused)
{
	struct objr_scheme_file *own = seq->private;
	struct objr_out out = { .seq = seq };

	if (own->why[0])
		seq_printf(seq, "error %s\n", own->why);
	else
		objr_show_scheme(own->world, &out);
	return 0;
}

static int objr_scheme_open(struct inode *inode, struct file *file)
{
	struct objr_scheme_file *own = kzalloc(sizeof(*own), GFP_KERNEL_ACCOUNT);
	int error;

	if (!own)
		return -ENOMEM;
	own->world = inode->i_private;
	error = single_open(file, objr_scheme_show, own);
	if (error)
		kfree(own);
	return error;
}

static int objr_scheme_release(struct inode *inode, struct file *file)
{
	struct seq_file *seq = file->private_data;

	kfree(seq->private);
	return single_release(inode, file);
}

/* What was written, judged and done: 0, or an error with the reason. */
static int objr_scheme_switch(struct objr_world *world, char *text, size_t length, char *why,
			      size_t why_bytes)
{
	const char *name;
	int error;

	/* A program that writes its terminator too is forgiven. */
	if (strnlen(text, length) + 1 < length) {
		snprintf(why, why_bytes, "a name without zero bytes is wanted");
		return -EINVAL;
	}
	name = strim(text);
	error = objr_set_scheme(world, name, why, why_bytes);
	if (error && !why[0])
		snprintf(why, why_bytes, "the switch to %s was refused: error %d", name, -error);
	return error;
}

static ssize_t objr_scheme_write(struct file *file, const char __user *buffer, size_t length,
				 loff_t *position)
{
	struct seq_file *seq = file->private_data;
	struct objr_scheme_file *own = seq->private;
	char text[OBJR_SCHEME_NAME_MAX + 1];
	char why[sizeof(own->why)] = "";
	int error;

	if (length == 0)
		return 0;
	if (length > OBJR_SCHEME_NAME_MAX) {
		snprintf(why, sizeof(why), "no scheme has a name of more than %d bytes",
			 OBJR_SCHEME_NAME_MAX);
		error = -EINVAL;
	} else {
		if (copy_from_user(text, buffer, length))
			return -EFAULT;
		text[length] = '\0';
		error = objr_scheme_switch(own->world, text, length, why, sizeof(why));
	}

	mutex_lock(&seq->lock);
	strscpy(own->why, why, sizeof(own->why));
	objr_seq_restart(seq);
	mutex_unlock(&seq->lock);
	/* Both: the kernel takes the position over only from a write that succeeds. */
	*position = 0;
	file->f_pos = 0;
	return error ? error : length;
}

const struct file_operations objr_scheme_fops = {
	.owner = THIS_MODULE,
	.open = objr_scheme_open,
	.read = seq_read,
	.write = objr_scheme_write,
	.llseek = seq_lseek,
	.release = objr_scheme_release,
};
