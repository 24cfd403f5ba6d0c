// Which of the compiled handler sets this processor runs best.
#include "select.hpp"

namespace soft {

extern const HandlerSet handlers_v2, handlers_v3, handlers_v4;

const HandlerSet &handlers() {
    static const HandlerSet &best = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
                                        ? handlers_v4
                                    : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? handlers_v3
                                                                                                      : handlers_v2;
    return best;
}

} // namespace soft
