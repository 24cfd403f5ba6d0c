// Modules, kernels, launches and occupancy of the emulated device.
#include <algorithm>
#include <utility>

#include "device/emulated.hpp"
#include "soft/check_ptx.hpp"

namespace shimbench {

namespace {

template <class Handle> Handle as(std::uint64_t handle) {
    return reinterpret_cast<Handle>(handle);
}

template <class Handle> std::uint64_t number(Handle handle) {
    return reinterpret_cast<std::uint64_t>(handle);
}

std::uint32_t rounded(std::uint32_t value, std::uint32_t unit) {
    return (value + unit - 1) / unit * unit;
}

} // namespace

std::uint32_t EmulatedDevice::arch() const {
    return static_cast<std::uint32_t>(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                                      attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
}

CUresult EmulatedDevice::load(wire_load_kind kind, std::vector<std::byte> image, std::uint64_t &handle,
                              std::string &log) {
    Module module;
    module.image = std::move(image);
    module.entries = soft::code_entries(module.image);
    module.library = kind == WIRE_LOAD_LIBRARY;
    module.context = context_of_caller();
    if (module.entries.empty())
        return CUDA_ERROR_INVALID_IMAGE;
    // Text is compiled when it is loaded, and its author wants to know; code in containers has been compiled
    // before, and is read when it is first launched.
    if (const soft::CodeEntry &only = module.entries.front();
        only.kind == soft::CodeKind::Ptx && only.stored.size() == module.image.size()) {
        log = soft::ptx_complaint(soft::unpack(only).value_or(""));
        if (!log.empty()) {
            if (engine_.module_refused)
                engine_.module_refused(CUDA_ERROR_INVALID_PTX, log.substr(0, log.find('\n')));
            return CUDA_ERROR_INVALID_PTX;
        }
    }
    module.handle = handle = new_handle();
    Module &kept =
        modules_.emplace(handle, std::move(module)).first->second; // a map's elements stay in place
    kept.memory = [this, &kept](std::uint64_t bytes) {
        if (memory_.allocate(bytes, 0, kept.variables, MemoryKind::Variables) != CUDA_SUCCESS)
            return std::uint64_t{0};
        return kept.variables;
    };
    kept.touch = [this](std::uint64_t address, std::uint64_t bytes) { return memory_.touch(address, bytes); };
    kept.memory_check = [this](std::uint64_t address, std::uint64_t bytes) {
        return memory_.complaint(address, bytes);
    };
    return CUDA_SUCCESS;
}

// PTX first: it can be executed, and says the same of a kernel as the cubin. A device that executes
// kernels has no use for a cubin.
bool EmulatedDevice::unpack(Module &module) {
    if (module.unpacked)
        return !module.code.empty();
    module.unpacked = true;
    const soft::CodeEntry *entry = soft::best_ptx(module.entries, arch());
    if (!entry && !engine_.run)
        entry = soft::best_cubin(module.entries, arch());
    if (!entry)
        return false;
    module.kind = entry->kind;
    module.arch = entry->arch;
    module.code = soft::unpack(*entry).value_or("");
    return !module.code.empty();
}

// What the image holds instead, so that its builder knows what to add.
CUresult EmulatedDevice::no_code(const Module &module, const char *kernel) {
    if (!engine_.refused)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    std::string held[2]; // PTX, SASS
    for (const soft::CodeEntry &entry : module.entries) {
        std::string &list = held[entry.kind == soft::CodeKind::Cubin];
        list += (list.empty() ? "" : ", ") + std::to_string(entry.arch) +
                (entry.arch_specific ? "a"
                 : entry.family      ? "f"
                                     : "");
    }
    engine_.refused(kernel, CUDA_ERROR_NO_BINARY_FOR_GPU,
                    std::string("no PTX for compute capability ") + std::to_string(arch() / 10) + "." +
                        std::to_string(arch() % 10) + ": its module holds " +
                        (held[0].empty() ? "no PTX" : "PTX for " + held[0]) + " and " +
                        (held[1].empty() ? "no SASS" : "SASS for " + held[1]));
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

CUresult EmulatedDevice::find_kernel(std::uint64_t handle, const char *name, std::uint64_t &found) {
    const auto at = modules_.find(handle);
    if (at == modules_.end())
        return CUDA_ERROR_INVALID_HANDLE;
    if (!name)
        return CUDA_ERROR_INVALID_VALUE;
    Module &module = at->second;
    if (const auto known = module.kernels.find(name); known != module.kernels.end()) {
        found = known->second;
        return CUDA_SUCCESS;
    }
    if (!unpack(module))
        return no_code(module, name);
    auto facts = module.kind == soft::CodeKind::Ptx ? soft::ptx_kernel(module.code, name)
                                                    : soft::cubin_kernel(module.code, name);
    if (!facts)
        return CUDA_ERROR_NOT_FOUND;
    const std::uint32_t ordinary =
        static_cast<std::uint32_t>(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK));
    const std::uint32_t dynamic = ordinary - std::min(ordinary, facts->static_shared_bytes);
    found = new_handle();
    kernels_.emplace(found, Kernel{std::move(*facts), handle, dynamic});
    module.kernels.emplace(name, found);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::find_variable(std::uint64_t handle, const char *name, CUdeviceptr *address,
                                       size_t *bytes) {
    const auto found = modules_.find(handle);
    if (found == modules_.end())
        return CUDA_ERROR_INVALID_HANDLE;
    if (!name)
        return CUDA_ERROR_INVALID_VALUE;
    if (!engine_.variable)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!unpack(found->second))
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    ModuleVariable variable;
    const CUresult result = engine_.variable(found->second, name, variable);
    if (result != CUDA_SUCCESS)
        return result;
    if (address)
        *address = variable.address;
    if (bytes)
        *bytes = variable.bytes;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::unload(std::uint64_t handle) {
    const auto found = modules_.find(handle);
    if (found == modules_.end())
        return CUDA_ERROR_INVALID_HANDLE;
    for (const auto &[name, kernel] : found->second.kernels)
        kernels_.erase(kernel);
    if (engine_.unload)
        engine_.unload(handle);
    if (found->second.variables)
        memory_.free(found->second.variables, MemoryKind::Variables);
    modules_.erase(found);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::count_kernels(std::uint64_t handle, unsigned *count) {
    const auto found = modules_.find(handle);
    if (!count || found == modules_.end())
        return count ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    if (!unpack(found->second))
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    const auto &code = found->second.code;
    *count = static_cast<unsigned>(found->second.kind == soft::CodeKind::Ptx
                                       ? soft::ptx_kernel_names(code).size()
                                       : soft::cubin_kernel_names(code).size());
    return CUDA_SUCCESS;
}

Kernel *EmulatedDevice::kernel(std::uint64_t handle) {
    const auto found = kernels_.find(handle);
    return found == kernels_.end() ? nullptr : &found->second;
}

CUresult EmulatedDevice::cuLibraryUnload(CUlibrary library) {
    return unload(number(library));
}

CUresult EmulatedDevice::cuModuleUnload(CUmodule hmod) {
    return unload(number(hmod));
}

CUresult EmulatedDevice::cuLibraryGetKernel(CUkernel *pKernel, CUlibrary library, const char *name) {
    std::uint64_t handle = 0;
    if (!pKernel)
        return CUDA_ERROR_INVALID_VALUE;
    const CUresult result = find_kernel(number(library), name, handle);
    if (result == CUDA_SUCCESS)
        *pKernel = as<CUkernel>(handle);
    return result;
}

CUresult EmulatedDevice::cuModuleGetFunction(CUfunction *hfunc, CUmodule hmod, const char *name) {
    std::uint64_t handle = 0;
    if (!hfunc)
        return CUDA_ERROR_INVALID_VALUE;
    const CUresult result = find_kernel(number(hmod), name, handle);
    if (result == CUDA_SUCCESS)
        *hfunc = as<CUfunction>(handle);
    return result;
}

CUresult EmulatedDevice::cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library,
                                            const char *name) {
    return find_variable(number(library), name, dptr, bytes);
}

CUresult EmulatedDevice::cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule hmod,
                                              const char *name) {
    return find_variable(number(hmod), name, dptr, bytes);
}

// A library is one module here, and its handle is good for both.
CUresult EmulatedDevice::cuLibraryGetModule(CUmodule *pMod, CUlibrary library) {
    if (!pMod || !modules_.contains(number(library)))
        return pMod ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    *pMod = as<CUmodule>(number(library));
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuLibraryGetKernelCount(unsigned int *count, CUlibrary lib) {
    return count_kernels(number(lib), count);
}

CUresult EmulatedDevice::cuModuleGetFunctionCount(unsigned int *count, CUmodule mod) {
    return count_kernels(number(mod), count);
}

CUresult EmulatedDevice::cuKernelGetFunction(CUfunction *pFunc, CUkernel handle) {
    if (!pFunc || !kernel(number(handle)))
        return pFunc ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    *pFunc = as<CUfunction>(number(handle));
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuFuncGetModule(CUmodule *hmod, CUfunction hfunc) {
    const Kernel *found = kernel(number(hfunc));
    if (!hmod || !found)
        return hmod ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    *hmod = as<CUmodule>(found->module);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::get_attribute(int *value, CUfunction_attribute wanted, std::uint64_t handle) {
    const Kernel *found = kernel(handle);
    if (!value || !found)
        return value ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    switch (wanted) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = static_cast<int>(found->facts.max_threads);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value = static_cast<int>(found->facts.static_shared_bytes);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value = static_cast<int>(found->facts.registers);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: // CUB chooses by it how it launches, and the kernels know only that
        *value = static_cast<int>(modules_.at(found->module).arch);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: // what PTX is compiled for
        *value = static_cast<int>(arch());
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = static_cast<int>(found->max_dynamic_shared);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        *value = found->carveout;
        return CUDA_SUCCESS;
    default:
        *value = 0;
        return wanted < CU_FUNC_ATTRIBUTE_MAX ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult EmulatedDevice::set_attribute(CUfunction_attribute wanted, int value, std::uint64_t handle) {
    Kernel *found = kernel(handle);
    if (!found)
        return CUDA_ERROR_INVALID_HANDLE;
    if (wanted == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT && value >= -1 && value <= 100) {
        found->carveout = value;
        return CUDA_SUCCESS;
    }
    const int most = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    if (wanted == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && value >= 0 &&
        value <= most - static_cast<int>(found->facts.static_shared_bytes)) {
        found->max_dynamic_shared = static_cast<std::uint32_t>(value);
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult EmulatedDevice::get_parameter(std::uint64_t handle, size_t index, size_t *offset, size_t *size) {
    const Kernel *found = kernel(handle);
    if (!found)
        return CUDA_ERROR_INVALID_HANDLE;
    if (index >= found->facts.layout.parameters.size())
        return CUDA_ERROR_INVALID_VALUE;
    if (offset)
        *offset = found->facts.layout.parameters[index].offset;
    if (size)
        *size = found->facts.layout.parameters[index].size;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel handle,
                                              CUdevice) {
    return get_attribute(pi, attrib, number(handle));
}

CUresult EmulatedDevice::cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel handle,
                                              CUdevice) {
    return set_attribute(attrib, val, number(handle));
}

CUresult EmulatedDevice::cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction hfunc) {
    return get_attribute(pi, attrib, number(hfunc));
}

CUresult EmulatedDevice::cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value) {
    return set_attribute(attrib, value, number(hfunc));
}

CUresult EmulatedDevice::cuKernelGetParamInfo(CUkernel handle, size_t paramIndex, size_t *paramOffset,
                                              size_t *paramSize) {
    return get_parameter(number(handle), paramIndex, paramOffset, paramSize);
}

CUresult EmulatedDevice::cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t *paramOffset,
                                            size_t *paramSize) {
    return get_parameter(number(func), paramIndex, paramOffset, paramSize);
}

CUresult EmulatedDevice::parameter_layout(std::uint64_t function, ParameterLayout &layout) {
    const Kernel *found = kernel(function);
    if (!found)
        return CUDA_ERROR_INVALID_HANDLE;
    layout = found->facts.layout;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::launch(const wire_launch &call, std::span<const std::byte> parameters) {
    const Kernel *found = kernel(call.function);
    if (!found)
        return CUDA_ERROR_INVALID_HANDLE;
    const std::uint64_t threads = std::uint64_t{call.block[0]} * call.block[1];
    const bool empty = !call.grid[0] || !call.grid[1] || !call.grid[2] || !threads || !call.block[2];
    if (empty || call.block[0] > 1024 || call.block[1] > 1024 || call.block[2] > 64 ||
        threads * call.block[2] > found->facts.max_threads || call.grid[0] > 0x7fffffff ||
        call.grid[1] > 0xffff || call.grid[2] > 0xffff || call.shared_bytes > found->max_dynamic_shared ||
        parameters.size() < found->facts.layout.bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (call.cooperative) {
        // Its blocks wait for one another, so all of them have to find room at once.
        int blocks = 0;
        (void)cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, as<CUfunction>(call.function),
                                                          static_cast<int>(threads * call.block[2]),
                                                          call.shared_bytes);
        if (std::uint64_t{call.grid[0]} * call.grid[1] * call.grid[2] >
            static_cast<std::uint64_t>(blocks * attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)))
            return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    }
    return submit(call.stream, LaunchOperation{call, {parameters.begin(), parameters.end()}});
}

// Blocks that fit one multiprocessor at a time, by threads, shared memory and the device's own limit.
CUresult EmulatedDevice::cuOccupancyMaxActiveBlocksPerMultiprocessor(int *numBlocks, CUfunction func,
                                                                     int blockSize, size_t dynamicSMemSize) {
    const Kernel *found = kernel(number(func));
    if (!numBlocks || blockSize <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!found)
        return CUDA_ERROR_INVALID_HANDLE;
    *numBlocks = 0;
    if (static_cast<std::uint32_t>(blockSize) > found->facts.max_threads ||
        dynamicSMemSize > found->max_dynamic_shared)
        return CUDA_SUCCESS;
    const int threads = static_cast<int>(rounded(static_cast<std::uint32_t>(blockSize), 32));
    const int shared = static_cast<int>(found->facts.static_shared_bytes + dynamicSMemSize) +
                       attribute(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
    int blocks = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR) / threads;
    if (shared)
        blocks =
            std::min(blocks, attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR) / shared);
    *numBlocks = std::min(blocks, attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR));
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *numBlocks, CUfunction func,
                                                                              int blockSize,
                                                                              size_t dynamicSMemSize,
                                                                              unsigned int) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(numBlocks, func, blockSize, dynamicSMemSize);
}

CUresult EmulatedDevice::cuOccupancyAvailableDynamicSMemPerBlock(size_t *dynamicSmemSize, CUfunction func,
                                                                 int numBlocks, int blockSize) {
    const Kernel *found = kernel(number(func));
    if (!dynamicSmemSize || numBlocks <= 0 || blockSize <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!found)
        return CUDA_ERROR_INVALID_HANDLE;
    const int share = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR) / numBlocks -
                      attribute(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK) -
                      static_cast<int>(found->facts.static_shared_bytes);
    *dynamicSmemSize = std::min(static_cast<std::uint32_t>(std::max(share, 0)), found->max_dynamic_shared);
    return CUDA_SUCCESS;
}

} // namespace shimbench
