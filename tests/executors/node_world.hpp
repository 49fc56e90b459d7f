#pragma once

#include "executors/detail/service.hpp"
#include "tests/executors/flow_bench.hpp"
#include "tests/support/fake_post.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

/// Nodes in one process, with made-up workers, a made-up store and a network that the test moves by hand. The test
/// plays the controller.
namespace squall::executors::testing {

using squall::testing::fake_post;
using squall::testing::incoming_of;
using namespace std::chrono_literals;

inline constexpr actors::peer_id controller{7};
inline constexpr actors::peer_id store_peer{8};

inline shared_bytes filled(std::size_t size, char with) { return shared_bytes::take(std::string(size, with)); }
inline value picture(std::size_t size, char with) {
  return {functions::tensor{functions::datatype::uint8, {static_cast<std::int64_t>(size)}, filled(size, with)}};
}

/// Runs batches when the test says so, with run_function(); functions "big", "count" and "boom" besides.
class fake_worker final : public worker_host {
public:
  fake_worker(worker_listener& listener, std::shared_ptr<wire::arena_map> arenas)
      : listener_(listener), arenas_(std::move(arenas)) {}
  ~fake_worker() override { *gone = true; }

  void become_ready(errc code = errc::ok) {
    auto made = wire::arena::create(64 << 20);
    ASSERT_TRUE(made.ok()) << made.error().message;
    memory = *made;
    arenas_->add(memory);
    wire::worker::ready message;
    message.arena = memory->id();
    message.code = code;
    up = true;
    listener_.on_ready(message);
  }
  void die() {
    up = false;
    batches.clear();
    loads.clear();
    easy_loads.clear();
    known.clear();
    arenas_->forget(memory->id());
    memory.reset();
    listener_.on_lost("killed by the test");
  }

  result<> load(const wire::worker::load& request) override {
    if (!up)
      return {errc::unavailable, "it is not up"};
    known[request.variant] = request;
    (request.spec.kind == functions::variant_kind::onnx ? loads : easy_loads).push_back(request);
    return {};
  }
  result<> unload(variant_id variant) override {
    unloaded.push_back(variant);
    known.erase(variant);
    return {};
  }
  result<> run(const wire::worker::run& request) override {
    if (!up || refuses)
      return {up ? errc::overloaded : errc::unavailable, up ? "it is behind" : "it is not up"};
    batches.push_back(request);
    return {};
  }
  void cancel(batch_id batch) override { cancelled.push_back(batch); }
  void release(const std::vector<wire::arena_ref>& blocks) override {
    for (const auto& b : blocks)
      memory->release(b);
  }
  void on_alarm() override {}
  [[nodiscard]] time_point next_alarm() const override { return never; }
  [[nodiscard]] int pid() const override { return up ? 1 : 0; }
  [[nodiscard]] std::uint64_t arena_id() const override { return memory ? memory->id() : 0; }

  void finish_load(errc code = errc::ok) {
    ASSERT_FALSE(loads.empty());
    wire::worker::loaded message;
    message.variant = loads.front().variant;
    message.code = code;
    message.message = code == errc::ok ? "" : "no model";
    message.memory_bytes = 1000;
    loads.erase(loads.begin());
    listener_.on_loaded(message);
  }
  /// Ends the first load of a builtin, or else the first batch; false when there is none.
  bool step() {
    if (!easy_loads.empty()) {
      wire::worker::loaded message;
      message.variant = easy_loads.front().variant;
      message.memory_bytes = 1;
      easy_loads.erase(easy_loads.begin());
      listener_.on_loaded(message);
      return true;
    }
    if (batches.empty())
      return false;
    const auto batch = std::move(batches.front());
    batches.erase(batches.begin());
    wire::worker::done message;
    message.batch = batch.batch;
    message.executed = 1ms * static_cast<std::int64_t>(batch.items.size());
    for (const auto& inputs : batch.items)
      message.items.push_back(compute(batch.variant, inputs));
    largest_batch = std::max(largest_batch, batch.items.size());
    ++steps;
    listener_.on_done(std::move(message));
    return true;
  }

  bool up = false;
  bool refuses = false;
  std::shared_ptr<wire::arena> memory;
  std::map<variant_id, wire::worker::load> known;
  std::map<variant_id, std::string> names;    ///< of functions, by variant
  std::vector<wire::worker::load> loads;      ///< of models: the test ends them
  std::vector<wire::worker::load> easy_loads; ///< of builtins
  std::vector<wire::worker::run> batches;
  std::vector<variant_id> unloaded;
  std::vector<batch_id> cancelled;
  std::size_t largest_batch = 0;
  std::size_t steps = 0;
  std::shared_ptr<bool> gone = std::make_shared<bool>(false);

private:
  wire::worker::item_result compute(variant_id variant, const std::vector<value>& inputs) {
    const auto& name = names[variant];
    if (name == "boom")
      return {errc::failed, "it went off", {}};
    if (name == "big")
      return {errc::ok, "", {in_memory(200'000, 'b')}};
    if (name == "count") // (a, s) -> x, t: x = a + s, which is the next state
      return {
          errc::ok,
          "",
          {number(number_of(inputs[0]) + number_of(inputs[1])), number(number_of(inputs[0]) + number_of(inputs[1]))}};
    if (name == "size")
      return {errc::ok, "", {number(static_cast<float>(inputs[0].byte_size()))}};
    auto ran = run_function(name, inputs);
    return ran.ok() ? wire::worker::item_result{errc::ok, "", *ran}
                    : wire::worker::item_result{ran.error().code, ran.error().message, {}};
  }

  value in_memory(std::size_t size, char with) {
    auto block = memory->allocate(size);
    EXPECT_TRUE(block.ok());
    std::memset(block->bytes.data(), with, size);
    (void)memory->freeze(*block); // the last reader here goes at once; the block stays until it is released
    auto bytes = arenas_->resolve(block->ref);
    EXPECT_TRUE(bytes.ok());
    return {functions::tensor{functions::datatype::uint8, {static_cast<std::int64_t>(size)}, *bytes}};
  }

  worker_listener& listener_;
  std::shared_ptr<wire::arena_map> arenas_;
};

class fake_store final : public object_source {
public:
  struct object {
    std::string bytes;
    std::uint64_t version = 1;
  };
  std::map<std::string, object> objects;
  bool down = false;
  bool silent = false; ///< answers only with answer()
  std::size_t stats = 0;
  std::size_t gets = 0;
  std::vector<std::function<void()>> waiting;

  void stat(const std::string& key, std::function<void(result<wire::store_entry>)> done) override {
    ++stats;
    reply([this, key, done] {
      const auto found = objects.find(key);
      if (down || found == objects.end())
        return done(failure(key));
      done(wire::store_entry{key, found->second.bytes.size(), found->second.version});
    });
  }
  void get(const std::string& key, std::function<void(result<shared_bytes>)> done) override {
    ++gets;
    reply([this, key, done] {
      const auto found = objects.find(key);
      if (down || found == objects.end())
        return done(failure(key));
      done(shared_bytes::copy_of(found->second.bytes));
    });
  }
  void put(const std::string& key, shared_bytes value, bool, std::function<void(result<>)> done) override {
    reply([this, key, value, done] {
      auto& object = objects[key];
      object.bytes = value.text();
      ++object.version;
      done({});
    });
  }
  void erase(const std::string& key, std::function<void(result<>)> done) override {
    reply([this, key, done] {
      objects.erase(key);
      done({});
    });
  }
  void list(const std::string& prefix, std::function<void(result<std::vector<std::string>>)> done) override {
    reply([this, prefix, done] {
      std::vector<std::string> keys;
      for (const auto& [key, object] : objects)
        if (key.starts_with(prefix))
          keys.push_back(key);
      done(keys);
    });
  }
  bool on_message(const actors::incoming&) override { return false; }
  void on_alarm() override {}
  [[nodiscard]] time_point next_alarm() const override { return never; }
  void reset(actors::peer_id) override {}

  void answer() {
    for (auto& w : std::exchange(waiting, {}))
      w();
  }

private:
  [[nodiscard]] error failure(const std::string& key) const {
    return {down ? errc::unavailable : errc::not_found,
            down ? "the store did not answer" : "there is no key '" + key + "'",
            {}};
  }
  void reply(std::function<void()> what) {
    if (silent)
      waiting.push_back(std::move(what));
    else
      what();
  }
};

/// A node with its world.
struct machine {
  explicit machine(const std::string& name, std::shared_ptr<wire::arena_map> arenas, std::uint32_t lanes,
                   const std::string& folder)
      : arenas(std::move(arenas)) {
    auto made = wire::arena::create(64 << 20);
    SQUALL_CHECK(made.ok());
    arena = *made;
    this->arenas->add(arena);
    node_options options;
    options.name = name;
    options.controller_endpoint = "tcp://controller";
    options.own_endpoint = "tcp://" + name;
    options.lanes = lanes;
    options.memory_bytes = 1 << 20;
    options.data_folder = folder + "/" + name;
    options.event_log = false;
    options.cache_bytes = 10'000;
    node_parts parts;
    parts.arena = arena;
    parts.arenas = this->arenas;
    parts.start_worker = [this](const worker_host_options&, actors::post&, wire::arena_map&, worker_listener& listener,
                                logger&) {
      auto started = std::make_unique<fake_worker>(listener, this->arenas);
      worker = started.get();
      return result<std::unique_ptr<worker_host>>{std::move(started)};
    };
    parts.open_store = [this](actors::post&, actors::peer_id) {
      auto opened = std::make_unique<fake_store>();
      store = opened.get();
      return opened;
    };
    parts.instance = 42;
    role = std::make_unique<node_role>(options, std::move(parts), log);
  }
  ~machine() {
    if (role)
      role->stop();
  }

  std::shared_ptr<wire::arena_map> arenas;
  std::shared_ptr<wire::arena> arena;
  fake_post post;
  null_logger log;
  fake_worker* worker = nullptr;
  fake_store* store = nullptr;
  std::unique_ptr<node_role> role;
  actors::peer_id controller_connection;
  std::uint64_t host = wire::host_key();
  bool cut = false; ///< nothing reaches it
};

class NodeTest : public ::testing::Test {
protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "node-" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    add_function("id", {port_of("a")}, {port_of("x")});
    add_function("add", {port_of("a"), port_of("b")}, {port_of("x")});
    add_function("first", {port_of("a", true), port_of("b", true), port_of("c", true)}, {port_of("x")});
    add_function("split", {port_of("a")}, {port_of("xs", false, true), port_of("n")});
    add_function("sum", {port_of("xs", false, true)}, {port_of("x")});
    add_function("boom", {port_of("a")}, {port_of("x")});
    add_function("big", {port_of("a")}, {bytes_port("p")});
    add_function("size", {bytes_port("p")}, {port_of("x")});
    add_function("light", {port_of("a")}, {port_of("x")}).variants[0].target = "noop";
    auto& slow = add_function("model", {port_of("a")}, {port_of("x")});
    slow.variants[0].kind = functions::variant_kind::onnx;
    slow.variants[0].target = "models/m";
    add_function("count", {port_of("a"), port_of("s")}, {port_of("x"), port_of("t")}).state = {{"s", "t"}};
  }
  void TearDown() override {
    machines_.clear();
    std::filesystem::remove_all(folder_);
  }

  static functions::port bytes_port(const std::string& name) {
    return {name, functions::datatype::uint8, {-1}, false, false};
  }

  functions::function_spec& add_function(const std::string& name, std::vector<functions::port> inputs,
                                         std::vector<functions::port> outputs) {
    functions::registered_function f;
    f.id = function_id{functions_.size() + 1};
    f.spec = ft::function_of(name, std::move(inputs), std::move(outputs));
    f.spec.variants[0].target = "sleep"; // not light
    f.spec.variants[0].max_batch = 8;
    f.variants = {variant_id{f.id.value * 10}};
    functions_.push_back(std::move(f));
    return functions_.back().spec;
  }
  variant_id variant_of(const std::string& function) {
    for (const auto& f : functions_)
      if (f.spec.name == function)
        return f.variants[0];
    return {};
  }

  machine& add_machine(std::uint32_t lanes = 2) {
    // Machines of one test share this process, but each has the view of a process of its own.
    auto& m = *machines_.emplace_back(std::make_unique<machine>("n" + std::to_string(machines_.size() + 1),
                                                                wire::arena_map::create(), lanes, folder_));
    m.post.time = machines_.front()->post.time;
    m.role->start(m.post);
    m.worker->names = names();
    m.controller_connection = m.post.connections.front().peer;
    return m;
  }
  std::map<variant_id, std::string> names() {
    std::map<variant_id, std::string> out;
    for (const auto& f : functions_)
      out[f.variants[0]] = f.spec.name;
    return out;
  }

  functions::registered_function& function_named(const std::string& name) {
    for (auto& f : functions_)
      if (f.spec.name == name)
        return f;
    SQUALL_CHECK(false, name);
    return functions_.front();
  }

  wire::node_welcome welcome_for(std::size_t index) {
    wire::node_welcome w;
    w.node = node_id{first_node_ + index};
    w.epoch = epoch_;
    w.store_endpoint = "tcp://store";
    w.host = wire::host_key();
    w.functions = functions_;
    for (const auto& [id, spec] : dags_)
      w.dags.push_back({id, spec});
    for (std::size_t i = 0; i < machines_.size(); ++i)
      w.peers.push_back({node_id{first_node_ + i}, "n" + std::to_string(i + 1), "tcp://n" + std::to_string(i + 1),
                         machines_[i]->host});
    return w;
  }
  /// Welcomes every machine with every function and DAG; its worker is ready and has the builtins loaded.
  void join_all() {
    for (std::size_t i = 0; i < machines_.size(); ++i) {
      give(i, welcome_for(i));
      if (!machines_[i]->worker->up)
        machines_[i]->worker->become_ready();
      for (const auto& f : functions_)
        if (f.spec.variants[0].kind == functions::variant_kind::builtin)
          give(i, wire::preload{f.variants[0]});
    }
    settle();
    residencies_.clear();
  }

  dag_id add_dag(const functions::dag_spec& spec) {
    const dag_id id{100 + dags_.size()};
    dags_[id] = spec;
    return id;
  }
  dag_id add_dag_of(const std::string& function) {
    for (const auto& f : functions_)
      if (f.spec.name == function)
        return add_dag(functions::dag_of_function(f.spec));
    return {};
  }

  /// Stages by name to machines (from 1), the exit likewise; map stages may have a spread.
  wire::call_context context_of(std::uint64_t call, dag_id dag, const std::map<std::string, std::uint64_t>& homes = {},
                                std::uint64_t exit = 1) {
    wire::call_context c;
    c.call = call_id{call};
    c.dag = dag;
    c.remaining = 10s;
    c.client_host = wire::host_key();
    // The plan is in topological order, as compile() gives it.
    const auto compiled = functions::compile(dags_[dag], dag, [&](std::string_view name, std::uint32_t) {
      for (const auto& f : functions_)
        if (f.spec.name == name)
          return &f;
      return static_cast<const functions::registered_function*>(nullptr);
    });
    SQUALL_CHECK(compiled.ok(), compiled.error().message);
    for (const auto& s : (*compiled)->stages) {
      const auto at = homes.find(s.name);
      c.plan.stages.push_back(
          {s.variants.front(), node_id{first_node_ + (at == homes.end() ? 0 : at->second - 1)}, {}});
    }
    c.plan.exit = node_id{first_node_ + exit - 1};
    return c;
  }

  template <class Message>
  void give(std::size_t index, const Message& message, request_id request = {}) {
    auto& m = *machines_[index];
    auto one = incoming_of(message, m.controller_connection, request, Message::to, {m.arenas.get()});
    m.role->on_messages({&one, 1});
  }
  void start(std::size_t index, wire::call_context context, std::vector<value> inputs) {
    wire::start_call message;
    message.context = std::move(context);
    message.inputs = std::move(inputs);
    give(index, message);
  }

  /// Delivers messages and runs batches until nothing moves.
  void settle(bool run_batches = true) {
    for (bool moved = true; moved;) {
      moved = deliver();
      for (auto& m : machines_) {
        moved |= m->post.run_tasks() > 0;
        if (run_batches && m->worker->up)
          moved |= m->worker->step();
      }
    }
  }
  bool deliver() {
    bool moved = false;
    for (std::size_t from = 0; from < machines_.size(); ++from)
      for (auto& s : std::exchange(machines_[from]->post.sent, {})) {
        moved = true;
        if (s.to == machines_[from]->controller_connection)
          to_controller(*machines_[from], s);
        else
          to_machine(from, s);
      }
    return moved;
  }
  /// Time goes by for everybody; alarms ring.
  void pass(duration d) {
    const auto until = machines_.front()->post.time + d;
    for (;;) {
      auto next = until;
      for (auto& m : machines_)
        next = std::min(next, m->post.alarm);
      for (auto& m : machines_)
        m->post.time = std::max(m->post.time, next);
      for (auto& m : machines_)
        if (m->post.alarm <= m->post.time)
          m->role->on_alarm();
      settle(false);
      if (next >= until)
        return;
    }
  }

  std::optional<wire::call_finished> finished(std::uint64_t call) {
    for (auto f = finished_.begin(); f != finished_.end(); ++f)
      if (f->call == call_id{call}) {
        auto out = std::move(*f);
        finished_.erase(f);
        return out;
      }
    return std::nullopt;
  }
  /// What the controller does at the end of a call whose client is done with it.
  void release(wire::call_finished f) {
    f.outputs.clear();
    for (const auto node : f.holders)
      give(node.value - first_node_, wire::release_call{{f.call}});
    settle();
  }
  void expect_memory_free() {
    for (auto& m : machines_) {
      m->post.sent.clear();
      EXPECT_EQ(m->arena->used_bytes(), 0U);
      if (m->worker->memory) {
        EXPECT_EQ(m->worker->memory->used_bytes(), 0U);
      }
      EXPECT_EQ(m->role->calls_with_blocks(), 0U);
      EXPECT_EQ(m->role->calls_here(), 0U);
      EXPECT_EQ(m->role->items_here(), 0U);
    }
  }
  /// The disk has a thread of its own.
  void wait_for_load(std::size_t index) {
    for (int i = 0; i < 2000 && worker(index).loads.empty(); ++i) {
      settle();
      std::this_thread::sleep_for(1ms);
    }
    ASSERT_FALSE(worker(index).loads.empty());
  }
  node_role& role(std::size_t index) { return *machines_[index]->role; }
  fake_worker& worker(std::size_t index) { return *machines_[index]->worker; }

  std::vector<functions::registered_function> functions_;
  std::map<dag_id, functions::dag_spec> dags_;
  std::vector<std::unique_ptr<machine>> machines_;
  std::vector<wire::node_hello> hellos_;
  std::vector<wire::node_beat> beats_;
  std::vector<wire::residency> residencies_;
  std::vector<wire::call_finished> finished_;
  std::vector<wire::calls_answered> answered_;
  std::vector<wire::stage_ready> ready_stages_;
  std::vector<wire::order_report> order_reports_;
  std::vector<wire::replica_report> replica_reports_;
  std::vector<wire::plans_held> held_;
  std::size_t leaves_ = 0;
  std::size_t messages_between_nodes_ = 0;
  bool answers_beats_ = true;
  std::uint64_t epoch_ = 1;
  std::uint64_t first_node_ = 1;
  std::string folder_;
  std::function<void(const fake_post::sent_message&)> on_peer_message_;

private:
  void to_controller(machine& from, fake_post::sent_message& s) {
    using wire::message_type;
    const auto take = [&]<class M>(std::vector<M>& into) {
      auto decoded = wire::decode<M>(s.message, from.arenas.get());
      ASSERT_TRUE(decoded.ok()) << decoded.error().message;
      into.push_back(std::move(*decoded));
    };
    switch (s.head.type) {
      case message_type::node_hello:
        return take(hellos_);
      case message_type::call_finished:
        return take(finished_);
      case message_type::calls_answered:
        return take(answered_);
      case message_type::residency:
        return take(residencies_);
      case message_type::stage_ready:
        return take(ready_stages_);
      case message_type::order_report:
        return take(order_reports_);
      case message_type::replica_report:
        return take(replica_reports_);
      case message_type::plans_held:
        return take(held_);
      case message_type::node_leave:
        ++leaves_;
        return;
      case message_type::node_beat: {
        take(beats_);
        if (!answers_beats_)
          return;
        auto pong = incoming_of(wire::pong{epoch_}, from.controller_connection, s.head.request);
        from.role->on_messages({&pong, 1});
        return;
      }
      default:
        return;
    }
  }

  void to_machine(std::size_t from, fake_post::sent_message& s) {
    ++messages_between_nodes_;
    if (on_peer_message_)
      on_peer_message_(s);
    for (const auto& c : machines_[from]->post.connections)
      if (c.peer == s.to)
        for (auto& m : machines_)
          if ("tcp://" + std::string{"n"} + std::to_string(&m - machines_.data() + 1) == c.endpoint && !m->cut) {
            actors::incoming one{actors::peer_id{1000 + from}, s.head, s.message};
            m->role->on_messages({&one, 1});
          }
  }
};

} // namespace squall::executors::testing
