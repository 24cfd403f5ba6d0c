// A build without LLVM: kernels are interpreted.
#include "compile.hpp"

namespace soft {

bool can_compile() {
    return false;
}

std::shared_ptr<const Compiled> compile(const Program &, bool, Care, std::string &why, bool) {
    why = "built without LLVM";
    return nullptr;
}

} // namespace soft
