/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/list.h"

struct item {
	struct list_node node;
	struct hlist_node hnode;
	int value;
};

static struct item items[6];

static bool is_sequence(const struct list *l, const char *values)
{
	const struct list_node *n, *prev = NULL;

	for (n = l->first; n; prev = n, n = n->next)
		if (n->prev != prev || container_of(n, struct item, node)->value != *values++)
			return false;
	return l->last == prev && !*values;
}

static void fill(void)
{
	for (int i = 0; i < 6; i++)
		items[i].value = 'a' + i;
}

Test(list, zeroed_is_empty)
{
	struct list l = {0};

	cr_assert(is_sequence(&l, ""));
}

Test(list, adds_at_both_ends, .init = fill)
{
	struct list l = {0};

	list_add(&l, &items[1].node);
	list_add(&l, &items[0].node);
	list_add_tail(&l, &items[2].node);
	cr_assert(is_sequence(&l, "abc"));
}

Test(list, tail_of_empty_list_is_its_head, .init = fill)
{
	struct list l = {0};

	list_add_tail(&l, &items[0].node);
	cr_assert(is_sequence(&l, "a"));
}

Test(list, deletes_first_middle_last_and_only, .init = fill)
{
	struct list l = {0};

	for (int i = 0; i < 4; i++)
		list_add_tail(&l, &items[i].node);
	list_del(&l, &items[1].node);
	cr_assert(is_sequence(&l, "acd"));
	list_del(&l, &items[3].node);
	cr_assert(is_sequence(&l, "ac"));
	list_del(&l, &items[0].node);
	cr_assert(is_sequence(&l, "c"));
	list_del(&l, &items[2].node);
	cr_assert(is_sequence(&l, ""));
	cr_assert_null(l.first);
}

static bool is_hsequence(const struct hlist *h, const char *values)
{
	struct hlist_node *const *link = &h->first;
	struct hlist_node *n;

	for (n = h->first; n; link = &n->next, n = n->next)
		if (n->pprev != (struct hlist_node **)link ||
		    container_of(n, struct item, hnode)->value != *values++)
			return false;
	return !*values;
}

Test(hlist, adds_in_front_and_deletes_anywhere, .init = fill)
{
	struct hlist h = {0};

	for (int i = 3; i >= 0; i--)
		hlist_add(&h, &items[i].hnode);
	cr_assert(is_hsequence(&h, "abcd"));
	hlist_del(&items[2].hnode);
	cr_assert(is_hsequence(&h, "abd"));
	hlist_del(&items[0].hnode);
	cr_assert(is_hsequence(&h, "bd"));
	hlist_del(&items[3].hnode);
	hlist_del(&items[1].hnode);
	cr_assert(is_hsequence(&h, ""));
}
