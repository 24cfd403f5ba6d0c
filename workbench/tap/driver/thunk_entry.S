/* Thunks: entries that go to a function whose signature nobody here knows. Every register that can carry
 * an argument is kept, and as many stack words as can be (struct thunk_frame, thunks.c, decides). */
#define THUNKS 1536 /* TAP_THUNKS of driver.h; thunks.c asserts it */
#define EXPORT_THUNKS 512

#define GP 0
#define RAX 48
#define R10 56
#define XMM 64
#define TARGET 192
#define STACK_WORDS 200
#define RESULT_RAX 208
#define RESULT_RDX 216
#define RESULT_XMM 224
#define RECORDED 256
#define FRAME 384 /* sizeof(struct thunk_frame) */

	.text
	.p2align 4
	.globl tap_thunk_code
	.hidden tap_thunk_code
	.type tap_thunk_code, @function
tap_thunk_code:
	.set index, 0
	.rept THUNKS
	endbr64
	movl $index, %r11d
	jmp common
	.p2align 4
	.set index, index + 1
	.endr
	.size tap_thunk_code, . - tap_thunk_code

/* Names of the first entries, for stamping to write others over: hence their length. */
	.altmacro
	.macro export_slot number
	.globl shimbench_slot_\number\()_______________________________________________________________
	.set shimbench_slot_\number\()_______________________________________________________________, tap_thunk_code + \number * 16
	.type shimbench_slot_\number\()_______________________________________________________________, @function
	.endm
	.set slot, 0
	.rept EXPORT_THUNKS
	export_slot %slot
	.set slot, slot + 1
	.endr
	.noaltmacro

	.type common, @function
common:
	.cfi_startproc
	pushq %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	subq $FRAME, %rsp
	movq %rdi, GP+0(%rsp)
	movq %rsi, GP+8(%rsp)
	movq %rdx, GP+16(%rsp)
	movq %rcx, GP+24(%rsp)
	movq %r8, GP+32(%rsp)
	movq %r9, GP+40(%rsp)
	movq %rax, RAX(%rsp)
	movq %r10, R10(%rsp)
	movaps %xmm0, XMM+0(%rsp)
	movaps %xmm1, XMM+16(%rsp)
	movaps %xmm2, XMM+32(%rsp)
	movaps %xmm3, XMM+48(%rsp)
	movaps %xmm4, XMM+64(%rsp)
	movaps %xmm5, XMM+80(%rsp)
	movaps %xmm6, XMM+96(%rsp)
	movaps %xmm7, XMM+112(%rsp)
	movq %rsp, %rdi
	movl %r11d, %esi
	movq 8(%rbp), %rdx	/* the caller */
	leaq 16(%rbp), %rcx	/* the caller's stack words */
	call tap_thunk_enter
	movq %rsp, %r11		/* the frame */
	cmpq $0, RECORDED(%r11)
	je 1f

	/* Recorded: call the target with a copy of the stack words. */
	movq STACK_WORDS(%r11), %rcx
	leaq 0(,%rcx,8), %rax
	subq %rax, %rsp
	andq $-16, %rsp
	movq %rsp, %rdi
	leaq 16(%rbp), %rsi
	cld
	rep movsq
1:
	movaps XMM+0(%r11), %xmm0
	movaps XMM+16(%r11), %xmm1
	movaps XMM+32(%r11), %xmm2
	movaps XMM+48(%r11), %xmm3
	movaps XMM+64(%r11), %xmm4
	movaps XMM+80(%r11), %xmm5
	movaps XMM+96(%r11), %xmm6
	movaps XMM+112(%r11), %xmm7
	movq GP+0(%r11), %rdi
	movq GP+8(%r11), %rsi
	movq GP+16(%r11), %rdx
	movq GP+24(%r11), %rcx
	movq GP+32(%r11), %r8
	movq GP+40(%r11), %r9
	movq R10(%r11), %r10
	cmpq $0, RECORDED(%r11)
	je 2f
	movq RAX(%r11), %rax
	call *TARGET(%r11)
	leaq -FRAME(%rbp), %rsp
	movq %rax, RESULT_RAX(%rsp)
	movq %rdx, RESULT_RDX(%rsp)
	movaps %xmm0, RESULT_XMM+0(%rsp)
	movaps %xmm1, RESULT_XMM+16(%rsp)
	movq %rsp, %rdi
	call tap_thunk_leave
	movq RESULT_RAX(%rsp), %rax
	movq RESULT_RDX(%rsp), %rdx
	movaps RESULT_XMM+0(%rsp), %xmm0
	movaps RESULT_XMM+16(%rsp), %xmm1
	leave
	.cfi_remember_state
	.cfi_def_cfa %rsp, 8
	ret
2:
	/* Not recorded: as if the caller had called the target. */
	.cfi_restore_state
	movq RAX(%r11), %rax
	movq TARGET(%r11), %r11
	leave
	.cfi_def_cfa %rsp, 8
	jmp *%r11
	.cfi_endproc
	.size common, . - common

	.section .note.GNU-stack, "", @progbits
