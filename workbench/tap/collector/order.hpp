// Putting calls in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace shimbench::collector {

// Sorts what is made of a few ascending runs, as the calls of several threads one after another are: by
// merging neighbours until one run is left.
template <typename Key> void merge_runs(std::vector<Key> &keys, std::vector<Key> &spare) {
    std::vector<size_t> bounds{0};
    for (size_t i = 1; i < keys.size(); i++)
        if (keys[i] < keys[i - 1])
            bounds.push_back(i);
    bounds.push_back(keys.size());
    while (bounds.size() > 2) {
        spare.resize(keys.size());
        size_t kept = 1;
        for (size_t run = 0; run + 1 < bounds.size(); run += 2) {
            auto at = [&](size_t bound) {
                return keys.begin() + static_cast<ptrdiff_t>(bounds[std::min(bound, bounds.size() - 1)]);
            };
            std::merge(at(run), at(run + 1), at(run + 1), at(run + 2),
                       spare.begin() + static_cast<ptrdiff_t>(bounds[run]));
            bounds[kept++] = bounds[std::min(run + 2, bounds.size() - 1)];
        }
        bounds.resize(kept);
        keys.swap(spare);
    }
}

} // namespace shimbench::collector
