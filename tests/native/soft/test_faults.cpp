// Kernels that do wrong: what they end with, and that this process survives them.
#include <sys/mman.h>

#include "machine.hpp"

using namespace soft_test;
using soft::FaultKind;

namespace {

/// The line of kernel_text() its body begins in.
constexpr int body_line = 10;

void expect_fault(const std::string &text, Shape shape, const void *first, FaultKind kind, unsigned thread,
                  int line, const char *words) {
    auto outcome = run_text(text, shape, first);
    EXPECT(outcome.fault);
    std::fprintf(stderr, "%s\n", outcome.fault->message.c_str());
    EXPECT(outcome.fault->kind == kind && outcome.fault->thread[0] == thread && outcome.fault->line == line);
    EXPECT(outcome.fault->message.find(words) != std::string::npos);
}

void beyond_shared_memory() {
    auto text = kernel_text(
        "mov.u32 %r3, tile; shl.b32 %r4, %r1, 2; add.s32 %r4, %r4, %r3;\nst.shared.u32 [%r4], %r1;",
        ".shared .align 4 .b8 tile[80];");
    EXPECT(!run_text(text, {1, 32}, nullptr).fault); // made up to 128 bytes
    expect_fault(text, {1, 64}, nullptr, FaultKind::illegal_address, 32, body_line + 1, "shared memory");
}

void unmapped_and_misaligned_global_memory() {
    auto *page = static_cast<std::uint8_t *>(
        mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(page + 4096, 4096, PROT_NONE); // not unmapped: something else could come to lie there
    auto reach = [](const char *scale) {
        return kernel_text(std::string("mul.wide.u32 %rd4, %r1, ") + scale +
                           "; add.s64 %rd4, %rd4, %rd1;\nld.global.u32 %r3, [%rd4];");
    };
    expect_fault(reach("4"), {1, 64}, page + 4096 - 40 * 4, FaultKind::illegal_address, 40, body_line + 1,
                 "not mapped");
    expect_fault(reach("4"), {1, 32}, nullptr, FaultKind::illegal_address, 0, body_line + 1, "not mapped");
    expect_fault(reach("6"), {1, 32}, page, FaultKind::misaligned_address, 1, body_line + 1, "4 bytes");
    // The next launch is none the worse for it.
    EXPECT(!run("ld.global.u32 %r3, [%rd1];", {1, 32}, page).fault);
    munmap(page, 8192);
}

void traps() {
    expect_fault(kernel_text("setp.eq.u32 %p1, %r1, 3;\n@%p1 trap;"), {1, 32}, nullptr, FaultKind::trap, 3,
                 body_line + 1, "trap");
    expect_fault(kernel_text("setp.eq.u32 %p1, %r1, 3;\n@%p1 brkpt;"), {1, 32}, nullptr, FaultKind::trap, 3,
                 body_line + 1, "trap");
}

void endless_kernels_end() {
    auto outcome = run("L: add.s32 %r2, %r2, 1; bra L;", {1, 32, 0, 0.05});
    EXPECT(outcome.fault && outcome.fault->kind == FaultKind::timeout);
    // Parted lanes that wait for one another never do either.
    outcome = run("L: setp.lt.u32 %p1, %r1, 40; @%p1 bra L;", {4, 64, 0, 0.05});
    EXPECT(outcome.fault && outcome.fault->kind == FaultKind::timeout);
    outcome = run("setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 1, 64; A: bar.sync 2, 64;", {1, 64});
    EXPECT(outcome.fault && outcome.fault->kind == FaultKind::timeout);
}

void misaligned_asynchronous_copies() {
    alignas(16) std::uint32_t words[64] = {};
    auto copy = [](const char *offset) {
        return kernel_text(std::string("mov.u32 %r3, tile; add.s64 %rd4, %rd1, ") + offset +
                               ";\ncp.async.ca.shared.global [%r3], [%rd4], 8;",
                           ".shared .align 16 .b8 tile[16];");
    };
    EXPECT(!run_text(copy("8"), {1, 32}, words).fault);
    expect_fault(copy("4"), {1, 32}, words, FaultKind::misaligned_address, 0, body_line + 1,
                 "cp.async of 8 bytes");
}

void what_is_not_implemented_is_named() {
    ptx::Module module(
        kernel_text("mov.u32 %r2, 1;\ntex.1d.v4.f32.s32 {%f1, %f2, %f3, %f4}, [%rd1, {%r2}];"));
    bool named = false;
    try {
        (void)soft::lower(module, "k", [](const std::string &) { return std::uint64_t(0); });
    } catch (const ptx::Error &error) {
        named = error.line == body_line + 1 &&
                std::string(error.what()).find("tex.1d.v4.f32.s32") != std::string::npos;
    }
    EXPECT(named);
}

} // namespace

int main() {
    beyond_shared_memory();
    unmapped_and_misaligned_global_memory();
    traps();
    endless_kernels_end();
    misaligned_asynchronous_copies();
    what_is_not_implemented_is_named();
    std::puts("faults as they should be");
}
