// Loads at distances that are known beforehand. A gather reaches for the elements of 32 lanes one by one;
// where they lie close together, a few vectors hold them all ("windows"), and permutations sort them out.
#include "emitter.hpp"

#include "../control.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <optional>

namespace soft {

namespace {

constexpr std::int64_t window_bytes = 64;
constexpr std::int64_t widest_gap = 2048; // bytes between two lanes' elements lie in a page of one of theirs

/// Windows for lanes [first, first + count), each of which wants `chunk` bytes; none when those are too many.
std::vector<std::int64_t> windows_of(const Offsets &offsets, unsigned first, unsigned count,
                                     std::int64_t chunk, std::size_t most) {
    std::vector<std::int64_t> wanted(offsets.begin() + first, offsets.begin() + first + count), begins;
    std::sort(wanted.begin(), wanted.end());
    const std::int64_t least = *std::min_element(offsets.begin(), offsets.end()),
                       end = *std::max_element(offsets.begin(), offsets.end()) + chunk;
    for (std::int64_t offset : wanted) {
        if (!begins.empty() && offset + chunk <= begins.back() + window_bytes)
            continue;
        if (begins.size() == most)
            return {};
        begins.push_back(std::max(least, std::min(offset, end - window_bytes)));
    }
    return begins;
}

} // namespace

/// How the elements of an access come out of windows: by part of 64 bytes' worth of lanes, or less.
struct Emitter::Windows {
    unsigned size = 0, lanes_at_once = 0;
    std::int64_t least = 0, end = 0;              // of all bytes
    std::vector<std::vector<std::int64_t>> parts; // where their windows begin
    std::map<std::int64_t, Ref> loaded;
};

/// Nothing where a gather is as good.
std::optional<Emitter::Windows> Emitter::windows(const Access &access, unsigned size, std::size_t count) {
    if (!features_.avx512 || access.base == nullptr || access.offsets == Offsets{} ||
        (count == 1 && consecutive(access.offsets, size)))
        return std::nullopt;
    Offsets sorted = access.offsets;
    std::sort(sorted.begin(), sorted.end());
    for (unsigned i = 1; i < lanes; ++i)
        if (sorted[i] - sorted[i - 1] > widest_gap)
            return std::nullopt;
    Windows windows;
    const auto chunk = static_cast<std::int64_t>(size * count);
    windows.size = size;
    windows.lanes_at_once = std::min(lanes, static_cast<unsigned>(window_bytes) / size);
    windows.least = sorted.front();
    windows.end = sorted.back() + chunk;
    for (unsigned first = 0; first < lanes; first += windows.lanes_at_once) {
        windows.parts.push_back(
            windows_of(access.offsets, first, windows.lanes_at_once, chunk, windows.lanes_at_once / 4));
        if (windows.parts.back().empty())
            return std::nullopt;
    }
    return windows;
}

/// The 64 bytes of a window, as far as they belong to the access.
Emitter::Ref Emitter::window_at(const Access &access, Windows &windows, std::int64_t begin) {
    auto [found, added] = windows.loaded.try_emplace(begin, nullptr);
    if (!added)
        return found->second;
    TypeRef bytes = LLVMVectorType(i8_, window_bytes);
    Ref sum =
        LLVMBuildAdd(builder_, access.base, LLVMConstInt(i64_, static_cast<std::uint64_t>(begin), 1), "");
    Ref place = LLVMBuildIntToPtr(builder_, sum, LLVMPointerType(bytes, 0), "");
    const std::int64_t left = windows.end - begin;
    if (left >= window_bytes) {
        found->second = LLVMBuildLoad2(builder_, bytes, place, "");
        LLVMSetAlignment(found->second, 1);
    } else {
        std::vector<Ref> there;
        for (std::int64_t k = 0; k < window_bytes; ++k)
            there.push_back(number(i1_, k < left));
        found->second = intrinsic(
            "llvm.masked.load",
            {place, number(i32_, 1), LLVMConstVector(there.data(), window_bytes), LLVMConstNull(bytes)},
            {bytes, LLVMTypeOf(place)}, bytes);
    }
    return found->second;
}

/// The element `more` bytes into each lane's, zero-extended to 32 or 64 bits.
Emitter::Ref Emitter::sorted_out(const Access &access, Windows &windows, std::int64_t more) {
    const std::int64_t size = windows.size;
    std::vector<Ref> done;
    for (std::size_t part = 0; part < windows.parts.size(); ++part) {
        const std::vector<std::int64_t> &begins = windows.parts[part];
        struct Place {
            std::size_t window;
            std::int64_t byte;
        };
        std::vector<Place> places;
        std::int64_t grain = size; // as large as can be: larger ones are sorted by fewer instructions
        for (unsigned lane = 0; lane < windows.lanes_at_once; ++lane) {
            const std::int64_t at = access.offsets[part * windows.lanes_at_once + lane] + more;
            std::size_t window = begins.size() - 1;
            while (at < begins[window])
                --window;
            places.push_back({window, at - begins[window]});
            grain = std::gcd(grain, places.back().byte);
        }
        const auto count = static_cast<unsigned>(window_bytes / grain);
        TypeRef grains = LLVMVectorType(integer_type(static_cast<unsigned>(8 * grain)), count);
        Ref sorted = nullptr;
        for (std::size_t window = 0; window < begins.size(); window += window == 0 ? 2 : 1) {
            const std::size_t last = window == 0 ? 1 : window; // the first two at once
            Ref first = bits_of(window_at(access, windows, begins[window]), grains), second = first;
            if (window == 0 && begins.size() > 1)
                second = bits_of(window_at(access, windows, begins[1]), grains);
            std::vector<Ref> order;
            for (std::int64_t k = 0; k < count; ++k) {
                const std::int64_t lane = k * grain / size, inside = k * grain % size;
                Ref from = LLVMGetUndef(i32_);
                if (lane < windows.lanes_at_once) {
                    const Place &place = places[static_cast<std::size_t>(lane)];
                    const std::int64_t at = (place.byte + inside) / grain;
                    if (window == 0 && place.window <= last)
                        from = number(i32_, static_cast<std::uint64_t>(place.window == 0 ? at : count + at));
                    else if (window > 0)
                        from =
                            number(i32_, static_cast<std::uint64_t>(place.window == window ? count + at : k));
                }
                order.push_back(from);
            }
            sorted = LLVMBuildShuffleVector(builder_, window == 0 ? first : sorted, second,
                                            LLVMConstVector(order.data(), count), "");
        }
        TypeRef elements =
            LLVMVectorType(integer_type(8 * windows.size), static_cast<unsigned>(window_bytes / size));
        done.push_back(slice(bits_of(sorted, elements), 0, windows.lanes_at_once));
    }
    return LLVMBuildZExt(builder_, join(std::move(done)), shaped(size == 8 ? i64_ : i32_, true), "");
}

/// The load of what lies right after the 16 bits that load i wants, when both are put together to a word and
/// nothing between could tell whether they are loaded at once; else none.
std::uint32_t Emitter::upper_half_of(std::uint32_t i) const {
    const Draft &low = source_.drafts[i];
    auto is_half = [&](std::uint32_t at) {
        const Draft &draft = source_.drafts[at];
        return native_form(source_, at) == Native::load && draft.list.empty() &&
               draft.op.run != run_guarded && ptx::size_of(instruction(at).type()) == 2 &&
               !ptx::is_signed(instruction(at).type()) && draft.op.moved == low.op.moved &&
               analysis_.used.has(draft.op.dst);
    };
    if (!features_.avx512 || !is_half(i) || !form(low.op.a).alike() || !small(form(low.op.a).offsets) ||
        form(low.op.a).uniform() || in_shared(instruction(i)))
        return Analysis::none;
    std::uint32_t other = Analysis::none;
    for (std::uint32_t at = i + 1; at + 1 < segment_->last; ++at) {
        const Draft &draft = source_.drafts[at];
        const Native form_of_it = native_form(source_, at);
        if (form_of_it == Native::call || form_of_it == Native::store)
            return Analysis::none;
        if (form_of_it == Native::pack && draft.list.size() == 2 && draft.list[0] == low.op.dst &&
            other != Analysis::none && draft.list[1] == source_.drafts[other].op.dst)
            return other;
        if (other == Analysis::none && is_half(at) && draft.op.a == low.op.a &&
            draft.op.immediate == low.op.immediate + 2 && draft.op.dst != low.op.dst) {
            other = at;
            continue;
        }
        for (std::uint32_t v : references(source_, at).defines)
            if (v == low.op.a || v == low.op.dst ||
                (other != Analysis::none && v == source_.drafts[other].op.dst))
                return Analysis::none;
    }
    return Analysis::none;
}

/// Both halves of a word, at the lower one's place.
void Emitter::load_both_halves(std::uint32_t i, std::uint32_t other) {
    const Access from = access(i);
    Ref word = all_gathered(from, 4, 1, i).front();
    upper_halves_[other] = word;
    load_half(i, word, 0);
}

/// What load i wants of the word.
void Emitter::load_half(std::uint32_t i, Ref word, unsigned half) {
    const std::uint32_t to = source_.drafts[i].op.dst;
    TypeRef words = shaped(i32_, true);
    Ref value = half == 0 ? LLVMBuildAnd(builder_, word, number(words, 0xffff), "")
                          : LLVMBuildLShr(builder_, word, number(words, 16), "");
    define(i, to, {value, true});
    halves_[to] = {word, half};
}

/// What `all` gives when all lanes take part, which is expected, else what `some` does.
std::vector<Emitter::Ref> Emitter::either(Ref all_lanes, const std::function<std::vector<Ref>()> &all,
                                          const std::function<std::vector<Ref>()> &some) {
    Block whole_warp = unlikely(LLVMBuildNot(builder_, all_lanes, "")), done = new_block("done");
    const std::vector<Ref> others = some();
    Block from_some = LLVMGetInsertBlock(builder_);
    LLVMBuildBr(builder_, done);
    enter(whole_warp);
    std::vector<Ref> values = all();
    Block from_all = LLVMGetInsertBlock(builder_);
    LLVMBuildBr(builder_, done);
    enter(done);
    for (std::size_t k = 0; k < values.size(); ++k) {
        Ref chosen = LLVMBuildPhi(builder_, LLVMTypeOf(values[k]), "");
        Ref given[] = {others[k], values[k]};
        Block from[] = {from_some, from_all};
        LLVMAddIncoming(chosen, given, from, 2);
        values[k] = chosen;
    }
    return values;
}

std::vector<Emitter::Ref> Emitter::loaded_by_handler(std::uint32_t i, const Access &access, unsigned size,
                                                     std::size_t count) {
    move_by_handler(i, access);
    TypeRef held = shaped(size == 8 ? i64_ : i32_, true);
    std::vector<Ref> values;
    for (std::size_t k = 0; k < count; ++k)
        values.push_back(
            load_at(warp_, offsetof(WarpCore, moved) + k * lanes * (size == 8 ? 8 : 4), held, 64));
    return values;
}

/// Elements of so many bytes, zero-extended, as what lies in memory where they lie together.
Emitter::Ref Emitter::joined_elements(const std::vector<Ref> &values, unsigned size, unsigned bytes) {
    TypeRef type = shaped(bytes == 8 ? i64_ : i32_, true);
    Ref sum = nullptr;
    for (std::size_t k = 0; k < values.size(); ++k) {
        Ref one = values[k];
        if (values.size() > 1 && size < 4)
            one = LLVMBuildAnd(builder_, one, number(shaped(i32_, true), (1ull << (8 * size)) - 1), "");
        one = LLVMBuildIntCast2(builder_, one, type, 0, "");
        sum = k == 0 ? one
                     : LLVMBuildOr(builder_, sum, LLVMBuildShl(builder_, one, number(type, 8 * size * k), ""),
                                   "");
    }
    return sum;
}

/// And back, zero-extended.
std::vector<Emitter::Ref> Emitter::split_elements(Ref joined, unsigned size, std::size_t count) {
    TypeRef type = LLVMTypeOf(joined), words = shaped(i32_, true);
    std::vector<Ref> values;
    for (std::size_t k = 0; k < count; ++k) {
        Ref one = LLVMBuildLShr(builder_, joined, number(type, 8 * size * k), "");
        one = LLVMBuildIntCast2(builder_, one, words, 0, "");
        if (size < 4)
            one = LLVMBuildAnd(builder_, one, number(words, (1ull << (8 * size)) - 1), "");
        values.push_back(one);
    }
    return values;
}

/// All elements of load i, as gathered() has them.
std::vector<Emitter::Ref> Emitter::all_gathered(const Access &access, unsigned size, std::size_t count,
                                                std::uint32_t i) {
    auto each = [&](auto one) {
        std::vector<Ref> values;
        for (std::size_t k = 0; k < count; ++k)
            values.push_back(one(k * size));
        return values;
    };
    auto gather = [&] {
        const auto chunk = static_cast<unsigned>(size * count);
        if (count > 1 && chunk <= 8)
            return split_elements(gathered(access, 0, chunk), size, count);
        return each([&](std::uint64_t more) { return gathered(access, more, size); });
    };
    if (in_rows(access, size, count))
        return either(
            takes_all(access), [&] { return rows_loaded(access); },
            [&] { return loaded_by_handler(i, access, size, count); });
    std::optional<Windows> windows = this->windows(access, size, count);
    if (!windows)
        return gather();
    // What lanes that take no part would reach for may not be there.
    auto sorted = [&](std::uint64_t more) {
        return sorted_out(access, *windows, static_cast<std::int64_t>(more));
    };
    return either(takes_all(access), [&] { return each(sorted); }, gather);
}

} // namespace soft
