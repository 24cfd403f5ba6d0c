// Where warps wait for one another though no barrier tells them to, as they would be together on a GPU.
//
// A GPU's warps leave a barrier side by side. Real kernels rest on it: ggml's block_reduce (llama.cpp b9190)
// reads the warps' sums behind a barrier, and its next call writes its own over them with no barrier between.
// Here warps run one after another, each as far as the next barrier, and the first would write before the
// others have read. So where shared memory is read behind a barrier and then written, warps gather in front
// of the first write. It is a barrier that holds nobody up: when all others wait elsewhere, it is over.
#include "lowerer.hpp"

#include <algorithm>
#include <limits>

namespace soft {

namespace {

constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();

enum class Touch : std::uint8_t { nothing, read, written, waited };

bool runs(const Draft &draft, Handler handler) {
    return draft.op.run == handler || (draft.op.run == run_guarded && draft.op.guarded == handler);
}

/// What a draft does to shared memory, as far as its instruction names that space.
Touch touch_of(const Draft &draft, const std::vector<ptx::Instruction> &instructions) {
    if (runs(draft, barrier) || runs(draft, barrier_reduce))
        return Touch::waited;
    if (draft.instruction < 0)
        return Touch::nothing;
    const ptx::Instruction &in = instructions[static_cast<std::size_t>(draft.instruction)];
    const bool shared =
        std::any_of(in.modifiers.begin(), in.modifiers.end(),
                    [](const std::string &modifier) { return modifier.starts_with("shared"); });
    if (!shared)
        return Touch::nothing;
    if (in.opcode == "ld" || in.opcode == "ldmatrix")
        return Touch::read;
    return in.opcode == "st" || in.opcode == "stmatrix" ? Touch::written : Touch::nothing;
}

/// Where a jump at each draft leads, and from where each draft is jumped to last; `nowhere` for none.
struct Jumps {
    std::vector<std::size_t> target, last_source;
};

Jumps jumps_of(const std::vector<Draft> &drafts, int labels) {
    std::vector<std::size_t> at(static_cast<std::size_t>(labels), nowhere);
    for (std::size_t i = 0; i < drafts.size(); ++i)
        if (drafts[i].label >= 0)
            at[static_cast<std::size_t>(drafts[i].label)] = i;
    Jumps jumps{std::vector(drafts.size(), nowhere), std::vector(drafts.size(), nowhere)};
    for (std::size_t i = 0; i < drafts.size(); ++i)
        if (drafts[i].target >= 0) {
            jumps.target[i] = at[static_cast<std::size_t>(drafts[i].target)];
            if (jumps.target[i] != nowhere)
                jumps.last_source[jumps.target[i]] = i;
        }
    return jumps;
}

/// Behind that barrier: the draft that warps gather in front of. It is the last one before the first write,
/// and behind a read, that all come to who left the barrier, and once: no jump leads past it, and it is in no
/// loop of its own. `nowhere` when there is none.
std::size_t gathering_place(const std::vector<Draft> &drafts, const std::vector<Touch> &touches,
                            const Jumps &jumps, std::size_t barrier_at) {
    std::size_t found = nowhere, past = 0; // `past`: how far jumps from here on lead
    bool read = false;
    for (std::size_t i = barrier_at + 1; i < drafts.size() && touches[i] != Touch::waited; ++i) {
        if (jumps.last_source[i] != nowhere)
            past = std::max(past, jumps.last_source[i] + 1); // a loop back to here, from there
        if (read && past <= i && drafts[i].label < 0)
            found = i;
        if (touches[i] == Touch::written && found != nowhere)
            return found;
        read |= touches[i] == Touch::read;
        const std::size_t target = jumps.target[i];
        if (drafts[i].ends && past <= i) { // what follows is another way
            if (target == nowhere || target <= i)
                return nowhere;
            i = target - 1;
        } else if (target != nowhere) {
            past = std::max(past, target);
        }
    }
    return nowhere;
}

} // namespace

void Lowerer::gather_before_stores() {
    std::vector<Touch> touches;
    for (const Draft &draft : drafts_)
        touches.push_back(touch_of(draft, source_->instructions));
    const Jumps jumps = jumps_of(drafts_, labels_);
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < drafts_.size(); ++i)
        if (touches[i] == Touch::waited)
            if (const std::size_t at = gathering_place(drafts_, touches, jumps, i); at != nowhere)
                places.push_back(at);
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end()); // barriers of two ways share one
    for (auto at = places.rbegin(); at != places.rend(); ++at) {
        Draft wait;
        wait.op.run = soft::barrier;
        wait.op.line = drafts_[*at].op.line; // of which no line's count changes
        wait.op.a = constant(gathering, false);
        use(wait, wait.op.a);
        drafts_.insert(drafts_.begin() + static_cast<std::ptrdiff_t>(*at), std::move(wait));
    }
}

} // namespace soft
