/* SPDX-License-Identifier: MIT */
/*
 * Doubly linked list with a head and a tail, NULL-terminated, so that a
 * zeroed list is an empty list: the heads stand in .bss and need no set-up.
 *
 * Invariant: (first == NULL) == (last == NULL); a node is on at most one list.
 */
#ifndef BSLAB_LIST_H
#define BSLAB_LIST_H

#include "base/base.h"

struct list_node {
	struct list_node *next, *prev;
};

struct list {
	struct list_node *first, *last;
};

static inline void list_add(struct list *l, struct list_node *n)
{
	n->prev = NULL;
	n->next = l->first;
	if (l->first)
		l->first->prev = n;
	else
		l->last = n;
	l->first = n;
}

static inline void list_add_tail(struct list *l, struct list_node *n)
{
	n->next = NULL;
	n->prev = l->last;
	if (l->last)
		l->last->next = n;
	else
		l->first = n;
	l->last = n;
}

static inline void list_del(struct list *l, struct list_node *n)
{
	if (n->prev)
		n->prev->next = n->next;
	else
		l->first = n->next;
	if (n->next)
		n->next->prev = n->prev;
	else
		l->last = n->prev;
}

/* One-word heads, for the many short lists of a buddy (Linux: hlist). */
struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist {
	struct hlist_node *first;
};

static inline void hlist_add(struct hlist *h, struct hlist_node *n)
{
	n->next = h->first;
	n->pprev = &h->first;
	if (h->first)
		h->first->pprev = &n->next;
	h->first = n;
}

static inline void hlist_del(struct hlist_node *n)
{
	*n->pprev = n->next;
	if (n->next)
		n->next->pprev = n->pprev;
}

#endif
