// Parameter layouts and resources out of PTX text.
#include <string_view>

#include "expect.hpp"
#include "soft/kernels.hpp"

using namespace shimbench;

namespace {

constexpr std::string_view ptx = R"(.version 8.4
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 dynamic[];
.visible .entry first(
    .param .u64 .ptr .align 1 first_param_0, // a comment, with )
    .param .u8 first_param_1,
    .param .align 4 .b8 first_param_2[12],
    .param .u64 first_param_3
)
.maxntid 32, 8, 1
.minnctapersm 1
{
    .shared .align 16 .b8 tile[100];
    .shared .f32 sums[4][8];
    ld.shared.f32 %f1, [tile];
}
.entry second()
{
    ret;
}
.visible .entry broken(.param .weird x)
{
}
)";

void a_layout_follows_alignment() {
    const auto kernel = soft::ptx_kernel(ptx, "first");
    EXPECT(kernel && kernel->layout.parameters.size() == 4);
    const KernelParameter expected[] = {{0, 8}, {8, 1}, {12, 12}, {24, 8}};
    for (int n = 0; n < 4; n++) {
        EXPECT(kernel->layout.parameters[n].offset == expected[n].offset);
        EXPECT(kernel->layout.parameters[n].size == expected[n].size);
    }
    EXPECT(kernel->layout.bytes == 32);
}

void directives_and_shared_memory_are_read() {
    const auto kernel = soft::ptx_kernel(ptx, "first");
    EXPECT(kernel->max_threads == 256);
    EXPECT(kernel->static_shared_bytes == 100 + 128);
}

void kernels_are_found_by_their_whole_name() {
    EXPECT(soft::ptx_kernel_names(ptx).size() == 3);
    const auto second = soft::ptx_kernel(ptx, "second");
    EXPECT(second && second->layout.bytes == 0 && second->max_threads == 1024);
    EXPECT(!soft::ptx_kernel(ptx, "fir") && !soft::ptx_kernel(ptx, "broken") && !soft::ptx_kernel(ptx, ""));
}

/// As people and other compilers than nvcc write it.
void headers_are_read_as_the_grammar_has_them() {
    constexpr std::string_view text = R"(.version 8.4
.target sm_80
.address_size 64
// .visible .entry k(.param .u64 commented_out) { ret; }
.visible .entry	k /* of ours */ (
    .param .align 0x10 .b8 structure[0x20], .param .v4 .f32 vector,
    .param .b8 table[2][3], .param .u64 last)
.pragma "nounroll";
.reqntid 16, 2
{
    .reg .b32 %r<4>;
{ // as text within an asm statement stands
    mov.u32 %r1, 1;
}
    .shared	.align 8 .b8 tile[2 * 8];
    .shared .align 4 .v2 .f32 pairs[4];
    ld.shared.u32 %r2, [tile]; // .shared .b8 of_a_comment[100];
    ret;
}
.func other() { .shared .b8 of_another[1000]; ret; }
)";
    const auto kernel = soft::ptx_kernel(text, "k");
    EXPECT(kernel && kernel->layout.parameters.size() == 4 && kernel->max_threads == 32);
    const KernelParameter expected[] = {{0, 32}, {32, 16}, {48, 6}, {56, 8}};
    for (int n = 0; n < 4; n++)
        EXPECT(kernel->layout.parameters[n].offset == expected[n].offset &&
               kernel->layout.parameters[n].size == expected[n].size);
    EXPECT(kernel->static_shared_bytes == 16 + 32);
    EXPECT(soft::ptx_kernel_names(text).size() == 1);
}

} // namespace

int main() {
    a_layout_follows_alignment();
    directives_and_shared_memory_are_read();
    kernels_are_found_by_their_whole_name();
    headers_are_read_as_the_grammar_has_them();
}
