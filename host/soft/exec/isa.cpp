// One set of handlers, for the instruction set this source is compiled for.
#include "isa.hpp"

#include "lanes.hpp"

namespace soft {

extern const HandlerSet SOFT_ISA_SET;
const HandlerSet SOFT_ISA_SET = {
    choose_plain,
    choose_load,
    choose_store,
    choose_atomic,
    choose_async_copy,
    choose_address,
    choose_exchange,
    choose_matrix,
    unary<std::uint32_t, std::uint32_t, [](std::uint32_t a) { return a; }>,
    unary<std::uint64_t, std::uint64_t, [](std::uint64_t a) { return a; }>,
};

} // namespace soft
