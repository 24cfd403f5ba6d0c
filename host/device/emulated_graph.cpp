// Operations and graphs of the emulated device: done at once, or kept and done again and again.
#include <algorithm>
#include <cstring>
#include <sys/mman.h>

#include "device/emulated.hpp"

namespace shimbench {

namespace {

template <class Handle> Handle as(std::uint64_t handle) {
    return reinterpret_cast<Handle>(handle);
}

template <class Handle> std::uint64_t number(Handle handle) {
    return reinterpret_cast<std::uint64_t>(handle);
}

CUgraphNodeType node_type(const Operation &operation) {
    if (std::holds_alternative<LaunchOperation>(operation))
        return CU_GRAPH_NODE_TYPE_KERNEL;
    return std::holds_alternative<CopyOperation>(operation) ? CU_GRAPH_NODE_TYPE_MEMCPY
                                                            : CU_GRAPH_NODE_TYPE_MEMSET;
}

/// Zeros. Of much memory the whole pages are given back rather than written, so that a program may clear
/// more of it than this machine has: they read as zeros, and come back when they are written to.
void clear(std::byte *at, std::uint64_t bytes) {
    constexpr std::uint64_t page = 4096, worth_giving_back = 2 << 20;
    const auto begin = reinterpret_cast<std::uint64_t>(at), end = begin + bytes;
    const std::uint64_t first = (begin + page - 1) / page * page, last = end / page * page;
    if (bytes >= worth_giving_back) {
        void *pages = reinterpret_cast<void *>(first);
        // MADV_REMOVE is for the window, a file in memory; it refuses private memory, which takes the other.
        if (madvise(pages, last - first, MADV_REMOVE) == 0 ||
            madvise(pages, last - first, MADV_DONTNEED) == 0) {
            std::memset(at, 0, first - begin);
            std::memset(reinterpret_cast<void *>(last), 0, end - last);
            return;
        }
    }
    std::memset(at, 0, bytes);
}

template <class Element> void fill_row(std::byte *row, std::uint64_t width, std::uint32_t value) {
    std::fill_n(reinterpret_cast<Element *>(row), width, static_cast<Element>(value));
}

// Bytes from the first to the last element; false when there are more than addresses.
bool fill_extent(const FillOperation &fill, std::uint64_t &bytes) {
    std::uint64_t row = 0, before = 0;
    return !__builtin_mul_overflow(fill.width, std::uint64_t{fill.element}, &row) &&
           !__builtin_mul_overflow(fill.height - 1, fill.pitch, &before) &&
           !__builtin_add_overflow(before, row, &bytes);
}

} // namespace

CUresult EmulatedDevice::submit(std::uint64_t handle, Operation operation) {
    Stream *on = stream(handle);
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    const CUresult checked = check(operation);
    if (checked != CUDA_SUCCESS || !on->capture)
        return checked == CUDA_SUCCESS ? perform(operation) : checked;
    if (captured_[on->capture])
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    const std::uint64_t node = new_handle();
    nodes_[node] = node_type(operation);
    Graph &graph = graphs_[on->capture];
    graph.nodes.push_back(node);
    graph.operations.push_back(std::move(operation));
    return CUDA_SUCCESS;
}

// Whether an operation can be done now. Graphs are checked again at each launch: memory may be gone.
CUresult EmulatedDevice::check(const Operation &operation) {
    if (const auto *copy = std::get_if<CopyOperation>(&operation))
        return memory_.touch(copy->target, copy->bytes) && memory_.touch(copy->source, copy->bytes)
                   ? CUDA_SUCCESS
                   : CUDA_ERROR_INVALID_VALUE;
    if (const auto *fill = std::get_if<FillOperation>(&operation)) {
        std::uint64_t bytes = 0;
        return fill_extent(*fill, bytes) && memory_.touch(fill->target, bytes) ? CUDA_SUCCESS
                                                                               : CUDA_ERROR_INVALID_VALUE;
    }
    return kernel(std::get<LaunchOperation>(operation).launch.function) ? CUDA_SUCCESS
                                                                        : CUDA_ERROR_INVALID_HANDLE;
}

CUresult EmulatedDevice::perform(const Operation &operation) {
    const Working working(works, std::holds_alternative<LaunchOperation>(operation));
    if (const auto *copy = std::get_if<CopyOperation>(&operation)) {
        std::memmove(memory_.touch(copy->target, copy->bytes), memory_.touch(copy->source, copy->bytes),
                     copy->bytes);
        return CUDA_SUCCESS;
    }
    if (const auto *fill = std::get_if<FillOperation>(&operation)) {
        std::byte *row = memory_.touch(fill->target, fill->width * fill->element);
        for (std::uint64_t n = 0; n < fill->height; n++, row += fill->pitch) {
            if (fill->value == 0)
                clear(row, fill->width * fill->element);
            else if (fill->element == 1)
                std::memset(row, static_cast<int>(fill->value), fill->width);
            else if (fill->element == 2)
                fill_row<std::uint16_t>(row, fill->width, fill->value);
            else
                fill_row<std::uint32_t>(row, fill->width, fill->value);
        }
        return CUDA_SUCCESS;
    }
    const auto &launched = std::get<LaunchOperation>(operation);
    Kernel *run = kernel(launched.launch.function);
    run->launches++;
    launches_++;
    return engine_.run ? engine_.run(modules_[run->module], *run, launched.launch, launched.parameters)
                       : CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuGraphCreate(CUgraph *phGraph, unsigned int flags) {
    if (!phGraph || flags)
        return CUDA_ERROR_INVALID_VALUE;
    const std::uint64_t handle = new_handle();
    graphs_[handle];
    *phGraph = as<CUgraph>(handle);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuGraphClone(CUgraph *phGraphClone, CUgraph originalGraph) {
    const auto original = graphs_.find(number(originalGraph));
    if (!phGraphClone || original == graphs_.end())
        return CUDA_ERROR_INVALID_VALUE;
    Graph copy{original->second.operations, {}};
    for (const auto &operation : copy.operations) {
        copy.nodes.push_back(new_handle());
        nodes_[copy.nodes.back()] = node_type(operation);
    }
    const std::uint64_t handle = new_handle();
    graphs_[handle] = std::move(copy);
    *phGraphClone = as<CUgraph>(handle);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuGraphDestroy(CUgraph hGraph) {
    const auto found = graphs_.find(number(hGraph));
    if (found == graphs_.end() || captured_.contains(found->first))
        return CUDA_ERROR_INVALID_VALUE;
    for (const std::uint64_t node : found->second.nodes)
        nodes_.erase(node);
    graphs_.erase(found);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::graph_nodes(std::uint64_t graph, std::vector<std::uint64_t> &nodes) {
    const auto found = graphs_.find(graph);
    if (found == graphs_.end())
        return CUDA_ERROR_INVALID_VALUE;
    nodes = found->second.nodes;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuGraphNodeGetType(CUgraphNode hNode, CUgraphNodeType *type) {
    const auto found = nodes_.find(number(hNode));
    if (!type || found == nodes_.end())
        return CUDA_ERROR_INVALID_VALUE;
    *type = found->second;
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuGraphInstantiateWithFlags(CUgraphExec *phGraphExec, CUgraph hGraph,
                                                     unsigned long long) {
    const auto found = graphs_.find(number(hGraph));
    if (!phGraphExec || found == graphs_.end())
        return CUDA_ERROR_INVALID_VALUE;
    const std::uint64_t handle = new_handle();
    executables_[handle] = {found->second.operations, {}};
    *phGraphExec = as<CUgraphExec>(handle);
    return CUDA_SUCCESS;
}

CUresult EmulatedDevice::cuGraphExecUpdate_v2(CUgraphExec hGraphExec, CUgraph hGraph,
                                              CUgraphExecUpdateResultInfo *resultInfo) {
    const auto executable = executables_.find(number(hGraphExec));
    const auto graph = graphs_.find(number(hGraph));
    if (executable == executables_.end() || graph == graphs_.end())
        return CUDA_ERROR_INVALID_VALUE;
    auto &old = executable->second.operations;
    const auto &updated = graph->second.operations;
    CUgraphExecUpdateResultInfo info{};
    info.result = CU_GRAPH_EXEC_UPDATE_SUCCESS;
    if (old.size() != updated.size()) {
        info.result = CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    } else {
        const auto differs =
            std::mismatch(old.begin(), old.end(), updated.begin(),
                          [](const auto &a, const auto &b) { return a.index() == b.index(); });
        if (differs.first != old.end()) {
            info.result = CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
            info.errorNode = as<CUgraphNode>(graph->second.nodes[differs.first - old.begin()]);
        }
    }
    if (info.result == CU_GRAPH_EXEC_UPDATE_SUCCESS)
        old = updated;
    if (resultInfo)
        *resultInfo = info;
    return info.result == CU_GRAPH_EXEC_UPDATE_SUCCESS ? CUDA_SUCCESS : CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
}

CUresult EmulatedDevice::cuGraphExecDestroy(CUgraphExec hGraphExec) {
    return executables_.erase(number(hGraphExec)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult EmulatedDevice::cuGraphUpload(CUgraphExec hGraph, CUstream hStream) {
    if (!stream(number(hStream)))
        return CUDA_ERROR_INVALID_HANDLE;
    return executables_.contains(number(hGraph)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult EmulatedDevice::cuGraphLaunch(CUgraphExec hGraph, CUstream hStream) {
    Stream *on = stream(number(hStream));
    const auto found = executables_.find(number(hGraph));
    if (!on)
        return CUDA_ERROR_INVALID_HANDLE;
    if (found == executables_.end())
        return CUDA_ERROR_INVALID_VALUE;
    if (on->capture)
        return refuse_in_capture(*on, CUDA_ERROR_NOT_SUPPORTED);
    for (const auto &operation : found->second.operations) {
        CUresult result = check(operation);
        if (result == CUDA_SUCCESS)
            result = perform(operation);
        if (result != CUDA_SUCCESS)
            return result;
    }
    return CUDA_SUCCESS;
}

} // namespace shimbench
