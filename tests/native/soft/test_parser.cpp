// PTX text that cannot be read: the error names the line. And text that can, with what it means.
#include <bit>

#include "machine.hpp"

using namespace soft_test;

namespace {

/// The line and words of what reading and lowering "k" throws; line -1 when it goes well.
std::pair<int, std::string> error_of(const std::string &text) {
    try {
        ptx::Module module(text);
        (void)module.variables();
        (void)soft::lower(module, "k", [](const std::string &name) -> std::uint64_t {
            throw ptx::Error(0, "unknown symbol " + name);
        });
    } catch (const ptx::Error &error) {
        return {error.line, error.what()};
    }
    return {-1, ""};
}

void errors_name_their_line() {
    const std::string head = ".version 8.4\n.target sm_80\n.address_size 64\n";
    struct {
        std::string text;
        int line;
        const char *words;
    } const rows[] = {
        {head + "nonsense\n", 4, "nonsense"},
        {head + ".visible .entry k()\n{\nret;\n", 7, "not closed"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\nadd.s32 %r1, %r2\n}\n", 8, ""},
        {head + ".visible .entry k()\n{\n\n@%p9 ret;\n}\n", 7, "%p9"},
        {head + ".visible .entry k()\n{\nbra NOWHERE;\n}\n", 6, "NOWHERE"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\nmov.u32 %r1, 0x;\n}\n", 7, "0x"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\n\n\nwibble.s32 %r1, %r2;\n}\n", 9, "wibble"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\nmov.u32 %r1, nobody;\n}\n", 7, "nobody"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\nld.global.u32 %r1;\n}\n", 7, ""},
        {head + ".visible .entry k()\n{\n.reg .b64 %rd<3>;\n.reg .b32 %r<3>;\nmov.b64 %rd1, {%r1, %r2, "
                "%r1};\n}\n",
         8, ""},
    };
    bool good = true;
    for (const auto &row : rows) {
        auto [line, words] = error_of(row.text);
        if (line == row.line && words.find(row.words) != std::string::npos)
            continue;
        good = false;
        std::fprintf(stderr, "expected line %d and '%s', got line %d: %s\n%s\n", row.line, row.words, line,
                     words.c_str(), row.text.c_str());
    }
    EXPECT(good);
}

void numbers_are_read_as_written() {
    struct {
        const char *text;
        std::uint32_t value;
    } const rows[] = {{"12", 12},
                      {"-3", 0xfffffffd},
                      {"0x1F", 31},
                      {"017", 15},
                      {"0b101", 5},
                      {"0xffffffffU", 0xffffffff},
                      {"0f3F800000", 0x3f800000},
                      {"-0f3F800000", 0xbf800000}};
    for (const auto &row : rows)
        EXPECT(words_of(std::string("mov.b32 %r2, ") + row.text + ";", 1)[0] == row.value);
    for (const auto &[text, value] : {std::pair{"1.5e+2", 150.0f}, {"25e-2", 0.25f}, {"-2.5E1", -25.0f}})
        EXPECT(words_of(std::string("mov.f32 %f1, ") + text + "; mov.b32 %r2, %f1;", 1)[0] ==
               std::bit_cast<std::uint32_t>(value));
    EXPECT(words_of("/* two\nlines */ mov.f32 %f1, 1.5; // more\nmov.b32 %r2, %f1;", 1)[0] == 0x3fc00000);
}

/// As C computes them but for signs: see "Constants" of the ISA.
void constant_expressions_are_computed() {
    struct {
        const char *text;
        std::uint32_t value;
    } const rows[] = {{"(1+2)*4", 12},
                      {"1+2*4-3", 6},
                      {"7 % 4", 3},
                      {"-7 / 2", 0xfffffffd},
                      {"(.u64)-1 >> 60", 15},
                      {"-16 >> 2", 0xfffffffc},
                      {"1 << 4 | 1", 17},
                      {"0xF0 & 0x3C ^ 1", 0x31},
                      {"~5", 0xfffffffa},
                      {"2 > 1 ? 5 : 6", 5},
                      {"1 == 1 && 2 != 2 || 3 <= 3", 1},
                      {"-1 < 1U", 0},
                      {"-1 < 1", 1},
                      {"+-+5", 0xfffffffb}};
    for (const auto &row : rows)
        EXPECT(words_of(std::string("mov.b32 %r2, ") + row.text + ";", 1)[0] == row.value);
    EXPECT(words_of("mov.f32 %f1, 1.5 * (2.0 + 2.0) / 3.0; mov.b32 %r2, %f1;", 1)[0] == 0x40000000);
    EXPECT(words_of(".shared .align 4 .b32 row[2 * WARP_SZ]; mov.u32 %r3, row; mov.u32 %r4, 9;\n"
                    "st.shared.u32 [%r3 + 2*4 - 4], %r4; ld.shared.u32 %r2, row[4/3];",
                    1)[0] == 9);
    for (const char *bad : {"1 / 0", "1 + 1.5", "~1.5", "0f3F800000 + 1", "(1"})
        EXPECT(error_of(kernel_text(std::string("mov.b32 %r2, ") + bad + ";")).first > 0);
}

std::vector<ptx::Variable> variables_of(const std::string &text) {
    return ptx::Module(".version 8.4\n.target sm_80\n.address_size 64\n" + text).variables();
}

void initial_values_lie_where_the_array_has_them() {
    auto words = [](const std::string &text) {
        const ptx::Variable variable = variables_of(text).at(0);
        std::vector<int> found(variable.size / 4);
        EXPECT(variable.initial.size() <= variable.size);
        std::memcpy(found.data(), variable.initial.data(), variable.initial.size());
        return found;
    };
    EXPECT((words(".global .s32 x[3][2] = { {1,2}, {3} };") == std::vector{1, 2, 3, 0, 0, 0}));
    EXPECT((words(".global .s32 x[][2] = { {-1}, {0, 1 - 3} };") == std::vector{-1, 0, 0, -2}));
    EXPECT((words(".global .v2 .u32 x[2] = { {1}, {2, 3} };") == std::vector{1, 0, 2, 3}));
    EXPECT((words(".global .s32 x[2][2][2] = { {{1}, {2}}, {{}, {3, 4}} };") ==
            std::vector{1, 0, 2, 0, 0, 0, 3, 4}));
    EXPECT((words(".const .f32 x[2] = { -0.5, 1e1 };") ==
            std::vector{std::bit_cast<int>(-0.5f), std::bit_cast<int>(10.0f)}));
    EXPECT((variables_of(".global .u8 x[] = { 0xFF(1000 + 546), 0xFF00(131187), 7 };").at(0).initial ==
            std::vector<std::uint8_t>{1546 & 0xff, 131187 >> 8 & 0xff, 7}));
    for (const char *bad : {".global .s32 x[2][2] = { {1, 2, 3} };", ".global .u8 x = 0xF0(300);"}) {
        bool refused = false;
        try {
            (void)variables_of(bad);
        } catch (const ptx::Error &) {
            refused = true;
        }
        EXPECT(refused);
    }
}

void initial_values_name_addresses() {
    const auto all =
        variables_of(".global .u32 to[4];\n.global .u64 whole[] = { generic(to)+8, to-4, generic(to+4)+4 };\n"
                     ".global .u8 parts[] = { 0xFF(to), 0xFF00(generic(to)+4) };\n");
    const auto &whole = all.at(1).relocations, &parts = all.at(2).relocations;
    EXPECT(all.at(1).size == 24 && whole.size() == 3 && all.at(2).size == 2 && parts.size() == 2);
    EXPECT(whole[0].addend == 8 && whole[1].addend == -4 && whole[2].addend == 8 && whole[2].offset == 16);
    EXPECT(whole[0].bytes == 8 && parts[1].bytes == 1 && parts[1].shift == 8 && parts[1].offset == 1 &&
           parts[1].addend == 4 && parts[0].symbol == "to");
}

void directives_say_what_they_say() {
    const std::string head = ".version 8.4\n.target sm_80\n.address_size 64\n";
    EXPECT(error_of(head + ".entry k() .pragma \"nounroll\"; .maxntid 32, 1, 1 { ret; }").first == -1);
    EXPECT(variables_of(".visible .global .attribute(.managed) .align 4 .u32 x;").at(0).is_managed);
    EXPECT(!variables_of(".global .attribute(.unified(19, 95)) .align 4 .u32 x;").at(0).is_managed);
    EXPECT(words_of("{ .param .b32 a; .param .b32 b; st.param.b32 [a], %r1; call (b), other, (a);\n"
                    "ld.param.b32 %r2, [b]; }",
                    1,
                    ".func (.param .b32 out) one(.param .b32 in) { .reg .b32 %r<2>; ld.param.b32 %r1, [in];\n"
                    "add.s32 %r1, %r1, 5; st.param.b32 [out], %r1; ret; }\n"
                    ".func (.param .b32 out) other(.param .b32 in);\n.alias other, one;\n")[0] == 5);
}

/// What would take this process's stack, memory or time.
void texts_without_measure_are_refused() {
    auto times = [](unsigned count, const std::string &text) {
        std::string all;
        for (unsigned i = 0; i < count; ++i)
            all += text;
        return all;
    };
    const std::string head = ".version 8.4\n.target sm_80\n.address_size 64\n";
    for (const std::string &deep :
         {kernel_text(times(200000, "{")), kernel_text("mov.b32 %r2, " + times(200000, "(")),
          kernel_text("mov.b32 %r2, " + times(200000, "-") + "1;"), kernel_text("call " + times(200000, "(")),
          kernel_text("mov.b32 %r2, " + times(200000, "{")),
          head + ".global .u32 x = " + times(200000, "{") + ";\n"})
        EXPECT(error_of(deep).first > 0);
    EXPECT(error_of(kernel_text(times(100, ".reg .b32 %x<1000000>;\n"))).second.find("too many registers") !=
           std::string::npos);
    EXPECT(error_of(head + ".section .debug_str\n").second.find("section") != std::string::npos);
    EXPECT(error_of(head + ".entry k(.param .b8 p[4294967295], .param .b8 q[4294967295]) { ret; }").first >
           0);
}

void elements_of_arrays_are_named_by_their_index() {
    const std::string level = ".shared .align 8 .b32 row[8];\n";
    const std::string store = "mov.u32 %r3, row; st.shared.u32 [%r3+8], 77;\n";
    EXPECT(words_of(level + store + "mov.u32 %r4, row[2]; ld.shared.u32 %r2, [%r4];", 1)[0] == 77);
    EXPECT(words_of(level + store + "ld.shared.u32 %r2, row[2];", 1)[0] == 77);
    EXPECT(words_of(level + "st.shared.u32 row[0], 5; ld.shared.u32 %r2, [row];", 1)[0] == 5);
    EXPECT(words_of(level + "mov.u32 %r4, row; mov.u32 %r5, row[3]; sub.u32 %r2, %r5, %r4;", 1)[0] == 12);
    const std::string global =
        ".global .b32 far[4];\n.visible .entry k() { .reg .b64 %rd<2>; mov.u64 %rd1, far[2]; }";
    EXPECT(
        error_of(".version 8.4\n.target sm_80\n.address_size 64\n" + global).second.find("not supported") !=
        std::string::npos);
}

/// Forms of instructions that are not performed, from every chapter of the ISA (9.1).
const char *const refused[] = {
    // textures and surfaces
    "tex.1d.v4.f32.s32 {%f1, %f2, %f3, %f4}, [%rd1, {%r1}]",
    "tex.2d.v4.f32.f32 {%f1, %f2, _, _}, [picture, {%f1, %f2}]",
    "tex.2d.v4.s32.f32 {%r1, %r2, %r3, %r4}|%p1, [picture, sampling, {%f1, %f2}], {%r5, %r6}, %f6",
    "tex.level.a2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd1, {%r1, %f1, %f2, %f2}], %f3",
    "tex.grad.cube.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd1, {%f1, %f2, %f3, %f4}], {%f1, %f2, %f3, %f3}, "
    "{%f1, %f2, %f3, %f3}",
    "tex.2dms.v4.s32.s32 {%r1, %r2, %r3, %r4}, [%rd1, {%r1, %r2, %r3, %r4}]",
    "tex.base.1d.v2.f16x2.f32 {%r1, %r2}, [%rd1, {%f1}]",
    "tld4.r.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd1, {%f5, %f6}]", "txq.width.b32 %r1, [picture]",
    "txq.level.height.b32 %r1, [%rd1], 3", "suld.b.1d.b32.trap %r1, [%rd1, {%r2}]",
    "suld.b.3d.v2.b64.zero {%rd1, %rd2}, [drawing, {%r1, %r2, %r3, %r4}]",
    "sust.b.2d.v4.b32.clamp [%rd1, {%r1, %r2}], {%r1, %r2, %r3, %r4}",
    "sust.p.1d.b32.trap [drawing, {%r1}], %r2", "sured.b.add.2d.u32.trap [%rd1, {%r1, %r2}], %r3",
    "suq.width.b32 %r1, [drawing]", "istypep.texref %p1, %rd1",
    // the stack
    "alloca.u64 %rd1, %rd2, 16", "stacksave.u64 %rd1", "stackrestore.u64 %rd1",
    // matrices
    "mma.sp::ordered_metadata.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r1, "
    "%r2}, {%r3, %r4}, {%f1, %f2, %f3, %f4}, %r5, 0x1",
    "mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0 {%f1, "
    "%f2, %f3, %f4}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f1, %f2, %f3, %f4}, %r7, {2, 1}, %r8, {2, 3}",
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1, %f2, %f3, %f4}, %rd1, %rd2, %p1, 1, -1, 0, 1",
    "wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.f16.f16 {%f1, %f2, %f3, %f4}, {%r1, %r2, %r3, %r4}, %rd2, "
    "%r5, 0, %p1, -1, -1, 1",
    "wgmma.fence.sync.aligned", "wgmma.commit_group.sync.aligned", "wgmma.wait_group.sync.aligned 2",
    "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%r1], 64",
    "tcgen05.ld.sync.aligned.16x32bx2.x1.pack::16b.b32 {%r1}, [%r2], 8",
    "tcgen05.st.sync.aligned.32x32b.x2.b32 [%r1], {%r2, %r3}",
    "tcgen05.cp.cta_group::1.64x128b.warpx2::02_13 [%r1], %rd1",
    "tcgen05.mma.cta_group::1.kind::mxf8f6f4.block_scale.scale_vec::1X.collector::a::fill [%r1], [%r2], "
    "%rd2, %r3, [%r4], [%r5], %p1",
    "tcgen05.mma.cta_group::2.kind::f16 [%r1], %rd1, %rd2, %r3, {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, "
    "!%p1, 1",
    "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.multicast::cluster.b64 [%rd1], %h1",
    "tcgen05.wait::ld.sync.aligned",
    // copies
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, "
    "%r3}], [%r4]",
    "cp.async.bulk.tensor.4d.shared::cta.global.im2col.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3, "
    "%r4, %r5}], [%r4], {%h1, %h2}",
    "cp.async.bulk.tensor.1d.global.shared::cta.bulk_group.L2::cache_hint [%rd1, {%r1}], [%r2], %rd2",
    "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%rd1, {%r1, %r2}], [%r3]",
    "cp.async.bulk.prefetch.tensor.1d.L2.global.tile [%rd1, {%r1}]",
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r1], [%rd1], 16, "
    "[%r2], %h1",
    "tensormap.replace.tile.global_address.global.b1024.b64 [%rd1], %rd2",
    "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%rd1], [%r1], "
    "128",
    "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%r1], {%r2, %r3}, [%r4]",
    "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r1], %r2, [%r3]",
    "multimem.ld_reduce.relaxed.gpu.global.add.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1]",
    "multimem.red.release.sys.global.and.b32 [%rd1], %r1",
    "multimem.cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 16",
    "st.bulk.weak.shared::cta [%r1], 64, 0",
    "clusterlaunchcontrol.try_cancel.async.shared::cta.mbarrier::complete_tx::bytes.b128 [%r1], [%r2]",
    "clusterlaunchcontrol.query_cancel.get_first_ctaid.v4.b32.b128 {%r1, %r2, %r3, _}, %q1",
    // arithmetic that only newer devices have, scalar video instructions
    "fma.rn.oob.f16 %h1, %h2, %h3, %h4", "add.rn.f32x2 %rd1, %rd2, %rd3", "max.f32 %f1, %f2, %f3, %f4",
    "cvt.rs.satfinite.e2m1x4.f32 %h1, {%f1, %f2, %f3, %f4}, %r1",
    "ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8x16.b6x16_p32 {%r1, %r2}, [%r3]",
    "vadd.u32.s32.u32.sat %r1, %r2.b0, %r3.h1", "vsub.s32.u32.u32 %r1.h1, %r2, %r3, %r4",
    "vmad.s32.u32.s32.shr7 %r1, %r2.h0, -%r3, %r4", "vset.u32.s32.lt.add %r1, %r2.b3, %r3.b2, %r4",
    "vadd2.u32.u32.u32 %r1.h0, %r2.h10, %r3.h32, %r4", "vshl.u32.u32.u32.clamp %r1, %r2, %r3",
    "mumble.of.a.newer.isa %r1, <%r2>, [%rd1 %r3"};

/// Of a module with one such kernel the others run, and that one names the instruction and its line.
void what_is_not_performed_is_read_all_the_same() {
    for (const char *form : refused) {
        const std::string text =
            ".version 9.1\n.target sm_100a\n.address_size 64\n.global .texref picture;\n"
            ".global .samplerref sampling = { addr_mode_0 = clamp_to_border, filter_mode = nearest };\n"
            ".global .surfref drawing;\n.tex .u32 of_old;\n"
            ".visible .entry k(.param .u64 .ptr .global p, .param .texref t)\n{\n"
            ".reg .pred %p<4>; .reg .b16 %h<8>; .reg .b32 %r<16>; .reg .f32 %f<16>; .reg .b64 %rd<8>; .reg "
            ".b128 %q<4>;\n\n" +
            std::string(form) + ";\nret;\n}\n.visible .entry other() { ret; }\n";
        const auto [line, words] = error_of(text);
        const std::string_view name = std::string_view(form).substr(0, std::string_view(form).find(' '));
        const std::string opcode(name.substr(0, name.find('.')));
        if (line != 12 || words.find("PTX instruction " + opcode) == std::string::npos ||
            words.find("is not implemented") == std::string::npos)
            std::fprintf(stderr, "%s\nline %d: %s\n", form, line, words.c_str());
        EXPECT(line == 12 && words.find("PTX instruction " + opcode) != std::string::npos &&
               words.find("is not implemented") != std::string::npos);
        ptx::Module module(text);
        auto nothing = [](const std::string &) { return std::uint64_t{0}; };
        EXPECT(soft::lower(module, "other", nothing) != nullptr);
        try {
            EXPECT(opcode == "mumble" ||
                   (module.function("k").body[0].operands.empty() ||
                    module.function("k").body[0].operands[0].kind != ptx::Operand::Kind::none));
        } catch (const ptx::Error &error) { // of a register of 128 bits
            EXPECT(std::string_view(error.what()).find("is not implemented") != std::string_view::npos);
        }
    }
}

void any_cut_of_a_text_ends_in_an_error_or_a_kernel() {
    const std::string text = kernel_text(
        "mov.u32 %r3, tile; ld.shared.v2.u32 {%r4, %r5}, [%r3+8];\n@!%p1 bra L; L: mov.b32 %r2, -1;",
        ".shared .align 8 .b8 tile[64];\n.const .align 4 .b32 table[2] = {1, 0x2};\n");
    for (std::size_t size = 0; size < text.size(); ++size)
        (void)error_of(text.substr(0, size));
    for (std::size_t at = 0; at < text.size(); ++at)
        for (char c : {'{', ';', '"', '[', '%', '\0', '9'}) {
            std::string changed = text;
            changed[at] = c;
            (void)error_of(changed);
        }
}

} // namespace

int main() {
    errors_name_their_line();
    numbers_are_read_as_written();
    constant_expressions_are_computed();
    initial_values_lie_where_the_array_has_them();
    initial_values_name_addresses();
    directives_say_what_they_say();
    texts_without_measure_are_refused();
    elements_of_arrays_are_named_by_their_index();
    what_is_not_performed_is_read_all_the_same();
    any_cut_of_a_text_ends_in_an_error_or_a_kernel();
    std::puts("texts read as they should be");
}
