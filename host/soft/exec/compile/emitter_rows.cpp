// Loads and stores of four words a lane, 16 bytes that lie together: each lane's are one of the processor's
// own, and what lanes' registers have is those rows turned to columns.
#include "emitter.hpp"

namespace soft {

/// Whether it is done so, where all lanes take part.
bool Emitter::in_rows(const Access &access, unsigned size, std::size_t count) const {
    return size == 4 && count == 4 && (access.base == nullptr || access.offsets != Offsets{});
}

/// A pointer to a lane's 16 bytes. `where`: addresses, in memory.
Emitter::Ref Emitter::row_at(const Access &access, Ref where, unsigned lane) {
    Ref address = nullptr;
    if (access.base != nullptr)
        address = LLVMBuildAdd(builder_, access.base,
                               LLVMConstInt(i64_, static_cast<std::uint64_t>(access.offsets[lane]), 1), "");
    else
        address = load_at(where, 8ull * lane, i64_, 8);
    return LLVMBuildIntToPtr(builder_, address, LLVMPointerType(LLVMVectorType(i32_, 4), 0), "");
}

/// Four vectors of 16 words, of which each quarter is a row: in each quarter of the first the first words of
/// the four rows there, and so on. The same way back.
std::vector<Emitter::Ref> Emitter::turned(const std::vector<Ref> &rows) {
    auto pick = [&](Ref a, Ref b, std::array<unsigned, 4> from) { // four and above: of b
        std::vector<Ref> order;
        for (unsigned quarter = 0; quarter < 4; ++quarter)
            for (unsigned at : from)
                order.push_back(number(i32_, 4 * quarter + at % 4 + (at < 4 ? 0 : 16)));
        return LLVMBuildShuffleVector(builder_, a, b, LLVMConstVector(order.data(), 16), "");
    };
    Ref low = pick(rows[0], rows[1], {0, 4, 1, 5}), high = pick(rows[0], rows[1], {2, 6, 3, 7});
    Ref low_others = pick(rows[2], rows[3], {0, 4, 1, 5}), high_others = pick(rows[2], rows[3], {2, 6, 3, 7});
    return {pick(low, low_others, {0, 1, 4, 5}), pick(low, low_others, {2, 3, 6, 7}),
            pick(high, high_others, {0, 1, 4, 5}), pick(high, high_others, {2, 3, 6, 7})};
}

/// The four words of all lanes.
std::vector<Emitter::Ref> Emitter::rows_loaded(const Access &access) {
    Ref where = nullptr;
    if (access.base == nullptr) { // by way of memory: cheaper than taking vectors apart
        where = at(warp_, offsetof(WarpCore, where), i8_);
        store_at(where, 0, places(access), 64);
    }
    std::array<std::vector<Ref>, 4> halves;
    for (unsigned first = 0; first < lanes; first += 16) {
        std::vector<Ref> rows;
        for (unsigned row = 0; row < 4; ++row) { // quarter q of it: lane 4q + row
            std::vector<Ref> quarters;
            for (unsigned quarter = 0; quarter < 4; ++quarter) {
                Ref place = row_at(access, where, first + 4 * quarter + row);
                quarters.push_back(LLVMBuildLoad2(builder_, LLVMVectorType(i32_, 4), place, ""));
                LLVMSetAlignment(quarters.back(), 16);
            }
            rows.push_back(join(std::move(quarters)));
        }
        const std::vector<Ref> words = turned(rows);
        for (unsigned k = 0; k < 4; ++k)
            halves[k].push_back(words[k]);
    }
    std::vector<Ref> values;
    for (std::vector<Ref> &parts : halves)
        values.push_back(join(std::move(parts)));
    return values;
}

/// In the order of lanes, as they may overlap.
void Emitter::rows_stored(const Access &access, const std::vector<Ref> &values) {
    Ref where = nullptr;
    if (access.base == nullptr) {
        where = at(warp_, offsetof(WarpCore, where), i8_);
        store_at(where, 0, places(access), 64);
    }
    for (unsigned first = 0; first < lanes; first += 16) {
        std::vector<Ref> words;
        for (unsigned k = 0; k < 4; ++k)
            words.push_back(slice(values[k], first, 16));
        const std::vector<Ref> rows = turned(words);
        for (unsigned lane = 0; lane < 16; ++lane) {
            Ref done = LLVMBuildStore(builder_, slice(rows[lane % 4], lane / 4 * 4, 4),
                                      row_at(access, where, first + lane));
            LLVMSetAlignment(done, 16);
        }
    }
}

} // namespace soft
