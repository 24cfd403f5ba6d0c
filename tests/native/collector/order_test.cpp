// Runs merged into one order, against the library's sort.
#include "check.hpp"
#include "order.hpp"

#include <cstdint>
#include <cstdio>
#include <random>
#include <utility>

using namespace shimbench::collector;

using Keys = std::vector<std::pair<int64_t, uint32_t>>;

namespace {

// `runs` threads' calls one after another; of some that nest the inner ones stand before their callers.
Keys of_threads(std::mt19937_64 &random, size_t runs, size_t longest, bool nested) {
    Keys keys;
    for (size_t run = 0; run < runs; run++) {
        int64_t time = static_cast<int64_t>(random() % 100);
        for (size_t call = random() % (longest + 1); call > 0; call--) {
            time += static_cast<int64_t>(random() % 5); // equal times, too
            keys.emplace_back(nested && random() % 4 == 0 ? time - 3 : time, keys.size());
        }
    }
    return keys;
}

} // namespace

int main() {
    std::mt19937_64 random(1);
    Keys spare;
    for (int round = 0; round < 2000; round++) {
        Keys keys = of_threads(random, random() % 9, random() % 200, round % 2);
        Keys sorted = keys;
        std::sort(sorted.begin(), sorted.end());
        merge_runs(keys, spare);
        check(keys == sorted, "merged runs are in order");
    }
    std::puts("ok");
}
