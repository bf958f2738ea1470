/* SPDX-License-Identifier: MIT */
/* Sanitizers keep pages of their own beside ours: what is resident and what faults tells nothing then. */
#ifndef BSLAB_HAS_SHADOW_H
#define BSLAB_HAS_SHADOW_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW true
#elif defined(__clang__)
#define HAS_SHADOW (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define HAS_SHADOW false
#endif

#endif
