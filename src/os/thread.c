/* SPDX-License-Identifier: MIT */
#include "os/thread.h"

#include "arch/arch.h"

__thread struct thread_state thread_state __attribute__((tls_model("initial-exec")));

intptr_t thread_state_rseq_offset(void)
{
	return (intptr_t)((uintptr_t)&thread_state.index - RSEQ_MM_CID - arch_thread_pointer());
}
