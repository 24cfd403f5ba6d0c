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

} // namespace

int main() {
    a_layout_follows_alignment();
    directives_and_shared_memory_are_read();
    kernels_are_found_by_their_whole_name();
}
