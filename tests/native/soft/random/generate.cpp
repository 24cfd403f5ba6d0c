// Random statements: what is done where, and in which choices, loops and tangles.
#include "generator.hpp"

namespace random_program {

Program Generator::make() {
    choose_shape();
    for (u32 &parameter : program_.parameters)
        parameter = static_cast<u32>(edge('r'));
    program_.shared = one_in(2);
    program_.local = one_in(3);
    affine_ = one_in(2); // most values are numbers that all lanes share, plus something for each
    collectives_ = one_in(2);
    ends_ = one_in(3);
    calls_ = one_in(4);
    tangles_ = one_in(3);
    jumps_ = !one_in(4);
    guards_ = one_in(2) ? 8 : 1000;
    atomics_ = one_in(3);
    bad_ = one_in(8);
    if (calls_)
        for (int i = 0; i < 2; ++i)
            make_function();
    in_kernel_ = true;
    left_ = 8 + below(20);
    begin();
    Place place;
    place.uniform = place.known = true;
    std::vector<Statement> statements = body(place, 3 + below(8));
    for (Statement &statement : statements)
        program_.kernel.body.push_back(std::move(statement));
    finish();
    flatten(program_);
    return std::move(program_);
}

void Generator::choose_shape() {
    Shape &shape = program_.shape;
    static constexpr u32 blocks[][3] = {{32, 1, 1}, {64, 1, 1}, {32, 1, 1}, {96, 1, 1}, {40, 1, 1},
                                        {33, 1, 1}, {7, 1, 1},  {16, 4, 1}, {8, 8, 1},  {5, 7, 1},
                                        {32, 2, 1}, {32, 3, 1}, {4, 4, 4},  {3, 5, 3},  {32, 1, 2},
                                        {1, 1, 1},  {64, 1, 1}};
    const u32(&block)[3] = blocks[below(std::size(blocks))];
    std::copy(block, block + 3, shape.block);
    shape.grid[0] = static_cast<u32>(1 + below(3));
    shape.grid[1] = one_in(6) ? 2 : 1;
}

void Generator::call(std::vector<Instruction> &code) {
    Instruction in =
        make_instruction(Kind::call, "", {result('r'), source('R'), source('R'), reg('d', d_input)}, 1);
    in.function = to(static_cast<int>(program_.functions.size()));
    in.text = "{ .param .b32 q0; .param .b32 q1; .param .b64 q2; .param .b32 q3; st.param.b32 [q0], $1; "
              "st.param.b32 [q1], $2; st.param.b64 [q2], $3; call (q3), f" +
              std::to_string(in.function) + ", (q0, q1, q2); ld.param.b32 $0, [q3]; }";
    code.push_back(std::move(in));
}

Statement Generator::plain(std::vector<Instruction> code) {
    Statement statement;
    statement.code = std::move(code);
    return statement;
}

std::vector<Statement> Generator::body(const Place &place, u64 count) {
    std::vector<Statement> all;
    const std::size_t seen = fresh_.size();
    for (u64 i = 0; i < count && left_ > 0; ++i)
        all.push_back(statement(place));
    fresh_.resize(seen);
    return all;
}

Statement Generator::statement(const Place &place) {
    --left_;
    if (place.depth < 4 && one_in(4)) {
        const int what = to(6);
        if (what < 2 || (what < 4 && place.loops == 3))
            return choice(place);
        if (what < 4)
            return loop(place);
        if (what == 4 || tangles_)
            return what == 4 ? cases(place) : tangle(place);
    }
    if (jumps_ && place.loops > 0 && one_in(8) && (place.open_loops > 0 || place.masked_loop == 1))
        return leaving(place);
    if (ends_ && place.depth > 0 && one_in(10))
        return ending();
    Statement made;
    if (in_kernel_)
        of_kernel(place, made.code);
    if (!made.code.empty())
        return made;
    if (one_in(3))
        touches_memory(made.code);
    else
        for (u64 n = 1 + below(4); n-- > 0;)
            computed(made.code);
    return made;
}

/// What functions do not have; nothing, often.
void Generator::of_kernel(const Place &place, std::vector<Instruction> &code) {
    if (place.uniform && program_.shared && one_in(8))
        hand_over(code);
    else if (place.uniform && one_in(16))
        one_in(2) ? reduce_block(code) : code.push_back(barrier());
    else if (place.known && collectives_ && one_in(3))
        collective(code);
    else if (atomics_ && one_in(4))
        atomic(code);
    else if (bad_ && one_in(8))
        goes_wrong(code);
    else if (calls_ && one_in(4))
        call(code);
    else if (place.uniform && one_in(5))
        uniform(code);
}

/// What all threads of the block have alike, in registers that hold nothing else.
void Generator::uniform(std::vector<Instruction> &code) {
    uniform_only_ = true;
    if (one_in(4)) {
        const Address address = common(code, 4);
        code.push_back(access(address, true, width()));
    } else {
        computed(code);
    }
    uniform_only_ = false;
}

Statement Generator::leaving(const Place &place) {
    Statement made;
    made.condition = condition(made.code);
    made.negated = one_in(2);
    made.kind =
        place.masked_loop == 1 || one_in(2) ? Statement::Kind::leave_loop : Statement::Kind::next_turn;
    made.levels = place.masked_loop == 1 ? 1 : 1 + to(place.open_loops);
    return made;
}

Statement Generator::ending() {
    Statement made;
    made.kind = Statement::Kind::end;
    made.condition = condition(made.code);
    made.negated = one_in(2);
    made.branches = one_in(2);
    made.step = 1 + to(2);
    return made;
}

Generator::Place Generator::inside(const Place &place, Statement &made) {
    Place inner = place;
    ++inner.depth;
    made.uniform = place.uniform && one_in(3);
    made.masked = !made.uniform && place.known && collectives_ && made.kind != Statement::Kind::cases &&
                  made.kind != Statement::Kind::tangle && one_in(2);
    inner.uniform = made.uniform;
    inner.known = place.known && (made.uniform || made.masked);
    if (inner.masked_loop > 0)
        ++inner.masked_loop;
    return inner;
}

Statement Generator::choice(const Place &place) {
    Statement made;
    made.kind = Statement::Kind::choice;
    const Place inner = inside(place, made);
    made.condition = made.uniform ? uniform_condition(made.code) : condition(made.code);
    made.negated = one_in(2);
    made.bodies.push_back(body(inner, 1 + below(3)));
    if (one_in(2))
        made.bodies.push_back(body(inner, 1 + below(3)));
    // Each way may have its barrier, to which the threads of the other come as well.
    if (in_kernel_ && place.uniform && !made.uniform && made.bodies.size() > 1 && one_in(4))
        for (auto &each : made.bodies)
            each.insert(each.begin() + static_cast<std::ptrdiff_t>(below(each.size() + 1)),
                        plain({make_instruction(Kind::barrier, "barrier.sync 0;", {}, 0)}));
    return made;
}

Statement Generator::loop(const Place &place) {
    Statement made;
    made.kind = Statement::Kind::loop;
    Place inner = inside(place, made);
    ++inner.loops;
    inner.open_loops = made.uniform || made.masked ? 0 : place.open_loops + 1;
    inner.masked_loop = made.masked ? 1 : made.uniform ? 0 : inner.masked_loop;
    made.tests_last = one_in(2);
    made.step = pick({1, 1, 2, 4});
    made.condition = constant('r', 1 + below(5));
    if (!one_in(3)) {
        const Operand limit = reg('r', 44 + place.loops);
        and_into(made.code, limit, made.uniform ? reg('r', r_uniform + to(3)) : source('r'),
                 pick<u64>({1, 3, 7}));
        made.condition = limit;
    }
    made.bodies.push_back(body(inner, 1 + below(4)));
    return made;
}

Statement Generator::cases(const Place &place) {
    Statement made;
    made.kind = Statement::Kind::cases;
    const Place inner = inside(place, made);
    made.condition = reg('r', temp());
    and_into(made.code, made.condition, made.uniform ? reg('r', r_uniform + to(3)) : source('r'), 3);
    for (int i = 0; i < 4; ++i)
        made.bodies.push_back(body(inner, 1 + below(2)));
    return made;
}

Statement Generator::tangle(const Place &place) {
    Statement made;
    made.kind = Statement::Kind::tangle;
    Place inner = inside(place, made);
    made.uniform = inner.uniform = inner.known = false;
    for (u64 n = 2 + below(3); n-- > 0;) {
        made.bodies.push_back(body(inner, 1 + below(2)));
        made.jumps.push_back(to(8));
    }
    return made;
}

Program generate(u64 seed) {
    return Generator(seed).make();
}

} // namespace random_program
