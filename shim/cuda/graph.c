/* Graphs: captured from a stream, made executable, updated, launched. */
#include "cuda/context.h"
#include "cuda/init.h"
#include "cuda/shim.h"

EXPORT CUresult cuGraphCreate(CUgraph *graph, unsigned int flags) {
    if (!graph || flags)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuGraphCreate(graph, flags);
}

EXPORT CUresult cuGraphClone(CUgraph *clone, CUgraph original) {
    if (!clone)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuGraphClone(clone, original);
}

EXPORT CUresult cuGraphDestroy(CUgraph graph) {
    return driver_ready() ?: forward_cuGraphDestroy(graph);
}

EXPORT CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuGraphGetNodes(graph, nodes, count);
}

EXPORT CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type) {
    if (!type)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuGraphNodeGetType(node, type);
}

/* Executable graphs. */

EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
    if (!exec)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuGraphInstantiateWithFlags(exec, graph, flags);
}

/* The older forms can say which node was at fault; the host doesn't. */
EXPORT CUresult cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
                                   size_t log_size) {
    if (error_node)
        *error_node = NULL;
    if (log && log_size)
        *log = 0;
    return cuGraphInstantiateWithFlags(exec, graph, 0);
}

EXPORT CUresult cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
                                      size_t log_size) {
    return cuGraphInstantiate(exec, graph, error_node, log, log_size);
}

EXPORT CUresult cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph,
                                             CUDA_GRAPH_INSTANTIATE_PARAMS *params) {
    if (!params)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = cuGraphInstantiateWithFlags(exec, graph, params->flags);
    params->hErrNode_out = NULL;
    params->result_out =
        result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
    if (result == CUDA_SUCCESS && params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)
        result = forward_cuGraphUpload(*exec, params->hUploadStream);
    return result;
}

EXPORT CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info) {
    if (!info)
        return CUDA_ERROR_INVALID_VALUE;
    return driver_ready() ?: forward_cuGraphExecUpdate_v2(exec, graph, info);
}

EXPORT CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error_node,
                                  CUgraphExecUpdateResult *update) {
    CUgraphExecUpdateResultInfo info = {0};
    CUresult result = cuGraphExecUpdate_v2(exec, graph, &info);
    if (error_node)
        *error_node = info.errorNode;
    if (update)
        *update = info.result;
    return result;
}

EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec) {
    return driver_ready() ?: forward_cuGraphExecDestroy(exec);
}

EXPORT CUresult cuGraphUpload(CUgraphExec exec, CUstream stream) {
    return context_ready() ?: forward_cuGraphUpload(exec, stream);
}

EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
    return context_ready() ?: forward_cuGraphLaunch(exec, stream);
}
