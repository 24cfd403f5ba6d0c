/* dlsym, dlvsym and dlopen as the target calls them. glibc's answers depend on who calls (RTLD_NEXT,
 * RTLD_DEFAULT, RUNPATH), so what is of no interest jumps on with stack and registers as they came. */

/* Asks preload_wants_X(arg0, arg1, caller); jumps to preload_X(arg0, arg1[, arg2], caller) or the real one. */
	.macro interpose name, caller_register
	.globl \name
	.type \name, @function
	.p2align 4
\name:
	.cfi_startproc
	endbr64
	pushq %rdi
	.cfi_adjust_cfa_offset 8
	pushq %rsi
	.cfi_adjust_cfa_offset 8
	pushq %rdx
	.cfi_adjust_cfa_offset 8
	movq 24(%rsp), %rdx
	call preload_wants_\name
	popq %rdx
	.cfi_adjust_cfa_offset -8
	popq %rsi
	.cfi_adjust_cfa_offset -8
	popq %rdi
	.cfi_adjust_cfa_offset -8
	testb %al, %al
	jnz 1f
	jmp *preload_real_\name(%rip)
1:
	movq (%rsp), %\caller_register
	jmp preload_\name
	.cfi_endproc
	.size \name, . - \name
	.endm

	.text
	interpose dlsym, rdx
	interpose dlvsym, rcx
	interpose dlopen, rdx

/* void *preload_call_as(void *ret_instruction, void *function, arg0, arg1, arg2): calls with a return address
 * that lies in somebody else's code, on a `ret` instruction there, which returns to here. */
	.globl preload_call_as
	.hidden preload_call_as
	.type preload_call_as, @function
	.p2align 4
preload_call_as:
	.cfi_startproc
	endbr64
	pushq %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	movq %rdi, %r11
	movq %rsi, %rax
	movq %rdx, %rdi
	movq %rcx, %rsi
	movq %r8, %rdx
	pushq $0
	leaq 1f(%rip), %r10
	pushq %r10
	pushq %r11
	jmp *%rax
1:
	leave
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_endproc
	.size preload_call_as, . - preload_call_as

	.section .note.GNU-stack, "", @progbits
