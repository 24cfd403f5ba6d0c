// Ways that are chosen by a number or a pointer, what calls hand over, labels of inner blocks, the heap of
// kernels.
#include "machine.hpp"

using namespace soft_test;

namespace {

using u32 = std::uint32_t;

void an_index_chooses_among_branches() {
    for (const char *guard : {"", "@%p1 "}) {
        auto words = words_of("mov.u32 %r2, 99; setp.lt.u32 %p1, %r1, 24; and.b32 %r3, %r1, 3;\n"
                              "WAYS: .branchtargets ZERO, ONE, TWO, THREE;\n" +
                                  std::string(guard) + (*guard ? "brx.idx" : "brx.idx.uni") +
                                  " %r3, WAYS;\nbra MET;\n"
                                  "ZERO: mov.u32 %r2, 10; bra MET;\nONE: mov.u32 %r2, 11; bra MET;\n"
                                  "TWO: mov.u32 %r2, 12;\nTHREE: add.s32 %r2, %r2, 100;\n"
                                  "MET: activemask.b32 %r4; setp.ne.u32 %p2, %r4, -1; @%p2 mov.u32 %r2, 0;",
                              32);
        const u32 wanted[] = {10, 11, 112, 199};
        for (u32 i = 0; i < 32; ++i)
            EXPECT(words[i] == (*guard && i >= 24 ? 99 : wanted[i & 3]));
    }
}

void a_label_is_known_in_its_block_only() {
    auto block = [](const std::string &step) {
        return "{ .reg.pred %q; AGAIN: add.s32 %r2, %r2, " + step +
               "; setp.lt.u32 %q, %r2, 50; @%q bra AGAIN; bra DONE; trap; DONE: }\n";
    };
    auto words =
        words_of("mov.u32 %r2, %r1;\n" + block("20") + "{ { sub.s32 %r2, %r2, 30; } " + block("7") + "}", 32);
    for (u32 i = 0; i < 32; ++i) {
        u32 x = i;
        do
            x += 20;
        while (x < 50);
        x -= 30;
        do
            x += 7;
        while (x < 50);
        EXPECT(words[i] == x);
    }
}

/// A name of a block's own, and the same name in one within it before.
void a_label_behind_an_inner_block_is_another() {
    auto words = words_of("mov.u32 %r2, %r1;\n"
                          "{ { bra SAME; trap; SAME: add.s32 %r2, %r2, 1; }\n"
                          "bra SAME; trap; SAME: add.s32 %r2, %r2, 10; }\n",
                          32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == i + 11);
}

/// Structures go to a function and come back in memory; the function changes its own copy.
void a_structure_is_handed_over_and_back() {
    const char *function =
        ".func (.param .align 8 .b8 out[24]) turned(.param .align 8 .b8 in[24], .param .b32 by)\n{\n"
        ".local .align 8 .b8 depot[16]; .reg .b32 %r<12>; .reg .b64 %rd<8>;\n"
        "ld.param.b32 %r9, [by]; ld.param.v2.b32 {%r1, %r2}, [in]; ld.param.b64 %rd1, [in+8]; ld.param.b32 "
        "%r3, [in+16];\n"
        "mov.u64 %rd4, depot; st.local.u64 [%rd4+8], %rd1; ld.local.u32 %r5, [%rd4+8]; ld.local.u32 %r6, "
        "[%rd4+12];\n"
        "add.s32 %r5, %r5, %r9; st.param.v2.b32 [out], {%r2, %r1}; st.param.b32 [out+8], %r5; st.param.b32 "
        "[out+12], %r6;\n"
        "st.param.b32 [out+16], %r3; ret;\n}\n";
    std::string body = "mov.u32 %r10, 1; mov.u32 %r11, 2; mul.wide.u32 %rd10, %r1, 3; mov.u32 %r12, 1000;\n";
    for (int i = 0; i < 2; ++i)
        body +=
            "{ .param .align 8 .b8 a[24]; .param .b32 b; .param .align 8 .b8 c[24];\n"
            "st.param.v2.b32 [a], {%r10, %r11}; st.param.b64 [a+8], %rd10; st.param.b32 [a+16], %r12; "
            "st.param.b32 [b], %r1;\n"
            "call.uni (c), turned, (a, b);\n"
            "ld.param.v2.b32 {%r10, %r11}, [c]; ld.param.b64 %rd10, [c+8]; ld.param.b32 %r12, [c+16]; }\n";
    body += "cvt.u32.u64 %r13, %rd10; mad.lo.s32 %r2, %r10, 10, %r11; mad.lo.s32 %r2, %r2, 10000, %r13; "
            "add.s32 %r2, "
            "%r2, %r12;";
    auto words = words_of(body, 64, function);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == 12 * 10000 + (3 * i + 2 * i) + 1000);
}

const char *const functions = ".func (.param .b32 out) twice(.param .b32 in)\n{\n.reg .b32 "
                              "%r<4>;\nld.param.b32 %r1, [in]; add.s32 %r1, %r1, "
                              "%r1; st.param.b32 [out], %r1; ret;\n}\n"
                              ".func (.param .b32 out) next(.param .b32 in)\n{\n.reg .b32 "
                              "%r<4>;\nld.param.b32 %r1, [in]; add.s32 %r1, %r1, 1; "
                              "st.param.b32 [out], %r1; ret;\n}\n"
                              ".func unlike(.param .b64 in)\n{\ntrap;\n}\n";

const char *const call_by_pointer = "{ .param .b32 a; .param .b32 b; st.param.b32 [a], %r1;\n"
                                    "proto: .callprototype (.param .b32 _) _ (.param .b32 _);\n"
                                    "call (b), %rd4, (a), proto; ld.param.b32 %r2, [b]; }";

void a_pointer_chooses_a_function_for_each_lane() {
    auto words =
        words_of(std::string("and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1;\n"
                             "mov.u64 %rd5, twice; mov.u64 %rd6, next; selp.b64 %rd4, %rd5, %rd6, %p1;\n") +
                     call_by_pointer,
                 32, functions);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == (i & 1 ? 2 * i : i + 1));
}

/// A recursive function can't be performed; where no pointer is made of it, none leads to it.
void a_function_that_is_only_called_is_none_that_a_pointer_chooses() {
    const std::string recursive = std::string(functions) +
                                  ".func (.param .b32 out) again(.param .b32 in);\n"
                                  ".func (.param .b32 out) again(.param .b32 in)\n{\n.reg .b32 %r<2>;\n"
                                  "{ .param .b32 a; .param .b32 b; call.uni (b), again, (a); }\nret;\n}\n";
    auto words = words_of(std::string("mov.u64 %rd4, next;\n") + call_by_pointer, 32, recursive.c_str());
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == i + 1);
}

void a_pointer_to_no_function_is_a_fault() {
    std::vector<u32> words(32);
    auto outcome = run_text(kernel_text(std::string("mov.u64 %rd4, 12345;\n") + call_by_pointer, functions),
                            {}, words.data());
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::trap);
    EXPECT(outcome.fault->message.starts_with("call by a pointer to no function"));
}

/// What a function declares for itself lies apart from the kernel's and from dynamic shared memory, whatever
/// it is called.
void a_functions_variables_are_its_own() {
    const char *level =
        ".extern .shared .align 16 .b8 dynamic[];\n"
        ".func (.param .b32 out) f(.param .b32 in)\n{\n.shared .align 4 .b32 row[64]; .local .align 4 .b32 "
        "depot[4];\n"
        ".reg .b32 %r<8>; .reg .b64 %rd<4>;\n"
        "ld.param.b32 %r1, [in]; mov.u32 %r2, row; mad.lo.u32 %r2, %r1, 4, %r2; mul.lo.u32 %r3, %r1, 3;\n"
        "st.shared.u32 [%r2], %r3; mov.u64 %rd1, depot; st.local.u32 [%rd1+12], %r3;\n"
        "ld.shared.u32 %r4, [%r2]; ld.local.u32 %r5, [%rd1+12]; add.s32 %r4, %r4, %r5;\n"
        "st.param.b32 [out], %r4; ret;\n}\n";
    const std::string body =
        ".shared .align 4 .b32 row[64]; .local .align 4 .b32 depot[4];\n"
        "mov.u32 %r3, row; mad.lo.u32 %r3, %r1, 4, %r3; st.shared.u32 [%r3], %r1;\n"
        "mov.u64 %rd4, depot; st.local.u32 [%rd4+12], %r1;\n"
        "mov.u32 %r4, dynamic; mad.lo.u32 %r4, %r1, 4, %r4; st.shared.u32 [%r4], %r1;\n"
        "{ .param .b32 a; .param .b32 b; st.param.b32 [a], %r1; call.uni (b), f, (a); ld.param.b32 %r2, [b]; "
        "}\n"
        "ld.shared.u32 %r5, row[0]; mov.u64 %rd5, depot; ld.local.u32 %r6, [%rd5+12]; ld.shared.u32 %r7, "
        "[%r3];\n"
        "ld.shared.u32 %r8, [%r4]; add.s32 %r6, %r6, %r7; add.s32 %r6, %r6, %r8; add.s32 %r6, %r6, %r5;\n"
        "mad.lo.u32 %r2, %r6, 1000, %r2;\n"
        "mul.wide.u32 %rd60, %r1, 4; add.s64 %rd60, %rd60, %rd1; st.global.u32 [%rd60], %r2;";
    std::vector<u32> words(64);
    auto outcome = run_text(kernel_text(body, level), {1, 64, 256}, words.data());
    EXPECT(!outcome.fault);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == 3 * i * 1000 + 6 * i);
}

/// A structure handed over may be called what the kernel's own parameter is.
void a_functions_parameters_are_its_own() {
    const char *function = ".func (.param .b32 out) f(.param .align 8 .b8 p1[16])\n{\n.reg .b32 %r<4>;\n"
                           "ld.param.b32 %r1, [p1]; st.param.b32 [out], %r1; ret;\n}\n";
    auto words = words_of("{ .param .align 8 .b8 a[16]; .param .b32 b; st.param.b32 [a], %r1;\n"
                          "call.uni (b), f, (a); ld.param.b32 %r2, [b]; }",
                          32, function);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == i);
}

/// The module's shared variables are there for what a kernel calls after it has printed.
void a_function_behind_a_printing_one_has_shared_memory() {
    const char *level = ".extern .func (.param .b32 out) vprintf(.param .b64 format, .param .b64 values);\n"
                        ".shared .align 4 .b32 row[32];\n"
                        ".func f(.param .b32 in)\n{\n.reg .b32 %r<4>;\n"
                        "ld.param.b32 %r1, [in]; mov.u32 %r2, row; mad.lo.u32 %r2, %r1, 4, %r2;\n"
                        "st.shared.u32 [%r2], %r1; ret;\n}\n";
    auto words = words_of(
        ".local .align 8 .b8 text[8]; mov.u64 %rd4, text; mov.u32 %r5, 10; st.local.u32 [%rd4], %r5;\n"
        "cvta.local.u64 %rd4, %rd4; setp.ne.u32 %p1, %r1, %r1;\n"
        "{ .param .b64 a; .param .b64 b; .param .b32 c; st.param.b64 [a], %rd4; st.param.b64 [b], %rd4;\n"
        "@%p1 call.uni (c), vprintf, (a, b); }\n"
        "{ .param .b32 a; st.param.b32 [a], %r1; call.uni f, (a); }\nmov.u32 %r2, 7;",
        32, level);
    for (u32 word : words)
        EXPECT(word == 7);
}

/// Registers and numbers may be handed over as they are.
void a_number_is_handed_over() {
    const char *function =
        ".func (.param .b32 out) f(.param .b32 a, .param .b64 b)\n{\n.reg .b32 %r<4>; .reg .b64 %rd<2>;\n"
        "ld.param.b32 %r1, [a]; ld.param.b64 %rd1, [b]; cvt.u32.u64 %r2, %rd1; sub.s32 %r1, %r2, %r1;\n"
        "st.param.b32 [out], %r1; ret;\n}\n";
    auto words = words_of("{ .param .b32 c; call (c), f, (%r1, 100); ld.param.b32 %r2, [c]; }", 32, function);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == 100 - i);
}

const char *const heap = ".extern .func (.param .b64 out) malloc(.param .b64 bytes);\n"
                         ".extern .func free(.param .b64 address);\n";

void what_a_kernel_allocates_is_its_own() {
    auto words =
        words_of("{ .param .b64 a; .param .b64 b; mov.u64 %rd4, 64; st.param.b64 [a], %rd4;\n"
                 "call.uni (b), malloc, (a); ld.param.b64 %rd5, [b]; }\n"
                 "st.u32 [%rd5+60], %r1; bar.sync 0; ld.u32 %r2, [%rd5+60];\n"
                 "{ .param .b64 a; st.param.b64 [a], %rd5; call.uni free, (a); }\n"
                 "{ .param .b64 a; mov.u64 %rd5, 0; st.param.b64 [a], %rd5; call.uni free, (a); }\n"
                 "{ .param .b64 a; .param .b64 b; mov.u64 %rd4, 0x10000000000; st.param.b64 [a], %rd4;\n"
                 "call.uni (b), malloc, (a); ld.param.b64 %rd5, [b]; }\n"
                 "setp.ne.u64 %p1, %rd5, 0; @%p1 trap;",
                 64, heap);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == i);
}

void freeing_twice_is_a_fault() {
    const char *give_back = "{ .param .b64 a; st.param.b64 [a], %rd5; call.uni free, (a); }\n";
    auto outcome = run_text(
        kernel_text(std::string("{ .param .b64 a; .param .b64 b; mov.u64 %rd4, 64; st.param.b64 [a], %rd4;\n"
                                "call.uni (b), malloc, (a); ld.param.b64 %rd5, [b]; }\n") +
                        give_back + give_back,
                    heap),
        {1, 1});
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::trap);
    EXPECT(outcome.fault->message.starts_with("free of what malloc has not given"));
}

/// One warp spins on what another writes later; neither comes to a barrier.
void a_warp_that_spins_lets_others_go_on() {
#ifndef __SANITIZE_THREAD__
    if (std::getenv("SHIMBENCH_SOFT_COMPILED")) // compiled loops do not give way
        return;
    auto words =
        words_of("mov.u32 %r3, word; setp.ge.u32 %p1, %r1, 32; @%p1 bra LATER;\n"
                 "WAIT: ld.volatile.shared.u32 %r2, [%r3]; setp.eq.u32 %p2, %r2, 0; @%p2 bra WAIT; bra END;\n"
                 "LATER: mov.u32 %r2, 5; st.volatile.shared.u32 [%r3], %r2;",
                 64, ".shared .align 4 .b32 word;");
    for (u32 word : words)
        EXPECT(word == 5);
#endif
}

std::string why_refused(const std::string &body, const std::string &level) {
    try {
        (void)soft::lower(ptx::Module(kernel_text(body, level)), "k",
                          [](const std::string &) { return std::uint64_t(0); });
    } catch (const ptx::Error &error) {
        return error.what();
    }
    return "";
}

/// Calls are put in place: what would never end, or fill all memory, is refused at once.
void what_can_not_be_put_in_place_is_refused() {
    const std::string again =
        ".func g(); .func f() { call g; call f; ret; } .func g() { call f; call g; ret; }\n";
    EXPECT(why_refused("call f;", again).find("recursion of f") != std::string::npos);
    std::string twice;
    for (int i = 15; i >= 0; --i)
        twice +=
            ".func f" + std::to_string(i) + "() { .reg .b32 %r<2>;\n" +
            (i == 15 ? std::string("mov.u32 %r1, 1;") : "") +
            (i == 15 ? "" : "call f" + std::to_string(i + 1) + ";\ncall f" + std::to_string(i + 1) + ";\n") +
            "add.s32 %r1, %r1, 1; add.s32 %r1, %r1, 1; ret; }\n";
    const std::string why = why_refused("call f0; call f0; call f0; call f0;", twice);
    EXPECT(why.find("too large") != std::string::npos);
    const std::string address = ".func f(.param .b32 in)\n{\n.reg .b64 %rd<2>; mov.u64 %rd1, in; ret;\n}\n";
    EXPECT(why_refused("{ .param .b32 a; st.param.b32 [a], %r1; call f, (a); }", address)
               .find("address of a parameter") != std::string::npos);
    for (const char *offset : {"8", "-40", "0xfffffffc", "0xffffffffffffffd8"})
        EXPECT(why_refused("ld.param.u32 %r2, [p3+" + std::string(offset) + "];", "").find("beyond") !=
               std::string::npos);
}

} // namespace

int main() {
    what_can_not_be_put_in_place_is_refused();
    an_index_chooses_among_branches();
    a_label_is_known_in_its_block_only();
    a_label_behind_an_inner_block_is_another();
    a_structure_is_handed_over_and_back();
    a_functions_variables_are_its_own();
    a_functions_parameters_are_its_own();
    a_function_behind_a_printing_one_has_shared_memory();
    a_number_is_handed_over();
    a_pointer_chooses_a_function_for_each_lane();
    a_function_that_is_only_called_is_none_that_a_pointer_chooses();
    a_pointer_to_no_function_is_a_fault();
    what_a_kernel_allocates_is_its_own();
    freeing_twice_is_a_fault();
    a_warp_that_spins_lets_others_go_on();
    std::puts("calls lead where they should");
}
