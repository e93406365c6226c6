// SPDX-License-Identifier: GPL-2.0
/* Frees a page that is still in a user page table: PAGE_TABLE_CHECK, or the allocator's own check. */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>

static int __init mapped_free_init(void)
{
	unsigned long address;
	struct page *page;

	address = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (IS_ERR_VALUE(address))
		return (int)address;
	if (get_user_pages_fast(address, 1, FOLL_WRITE, &page) != 1)
		return -EFAULT;
	put_page(page);
	__free_pages(page, 0);
	return 0;
}

static void __exit mapped_free_exit(void)
{
}

module_init(mapped_free_init);
module_exit(mapped_free_exit);
MODULE_DESCRIPTION("runner test: a mapped page is freed");
MODULE_LICENSE("GPL");
