#include "sim/verbs/workload_file.hpp"

#include "base/nearest.hpp"
#include "calls/json.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>

namespace squall::sim {

namespace {

using calls::json_node;
using functions::resource_type;
namespace placing = calls::placing;

// Greater numbers are mistakes, and would overflow further on.
constexpr std::int64_t max_ms = 1'000'000'000;
constexpr double max_cost = 1e9;
constexpr double max_memory_mb = 1e9;

/// A node of the file with its path.
struct place {
  json_node node;
  std::string path;
};

/// Reads pieces of the file. After the first mistake it reads nothing more that counts.
class file_reader {
public:
  workload out;

  result<> read(json_node root) {
    const place all{root, ""};
    keys(all, {"version", "nodes", "functions", "dags", "requests", "horizon", "events"});
    if (whole(member(all, "version"), 0, 1'000'000) != 1 && fine())
      fail(member(all, "version"), "must be 1: other versions are not known");
    read_nodes(member(all, "nodes"));
    read_functions(member(all, "functions"));
    read_dags(member(all, "dags"));
    out.horizon = whole(member(all, "horizon"), 1, max_ms);
    read_requests(member(all, "requests"));
    if (const auto events = optional(all, "events"))
      read_events(*events);
    return wrong_.empty() ? result<>{} : result<>{errc::invalid_argument, wrong_};
  }

private:
  // -- pieces
  // ----------------------------------------------------------------------------------------------------------------

  [[nodiscard]] bool fine() const { return wrong_.empty(); }
  void fail(const place& at, const std::string& why) {
    if (fine())
      wrong_ = (at.path.empty() ? "the file" : at.path) + " " + why;
  }

  [[nodiscard]] static place step(const place& of, json_node node, std::string_view name) {
    return {node, of.path.empty() ? std::string{name} : of.path + "." + std::string{name}};
  }

  bool is(const place& at, json_node::kind kind, const std::string& what) {
    if (at.node.type() != kind)
      fail(at, "must be " + what);
    return fine();
  }

  /// Only these, each once.
  void keys(const place& at, std::initializer_list<std::string_view> known) {
    if (!is(at, json_node::kind::object, "an object"))
      return;
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i < at.node.size(); ++i) {
      const auto [name, value] = at.node.member(i);
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        std::string list;
        for (const std::string_view k : known)
          list += (list.empty() ? "" : ", ") + std::string{k};
        return fail(step(at, value, name), "is not a field; there are: " + list);
      }
      if (!seen.insert(name).second)
        return fail(step(at, value, name), "is there twice");
    }
  }

  [[nodiscard]] std::optional<place> optional(const place& of, std::string_view name) {
    if (!fine() || of.node.type() != json_node::kind::object)
      return std::nullopt;
    const auto found = of.node.find(name);
    return found ? std::optional{step(of, *found, name)} : std::nullopt;
  }
  /// Of a field that must be there; a mistake is noted if it is not.
  [[nodiscard]] place member(const place& of, std::string_view name) {
    if (auto found = optional(of, name))
      return *found;
    fail(of, "lacks the field '" + std::string{name} + "'");
    return of;
  }
  [[nodiscard]] static place element(const place& of, std::size_t i) {
    return {of.node.element(i), of.path + "[" + std::to_string(i) + "]"};
  }

  double number(const place& at, double least, double most) {
    if (!fine())
      return least;
    const auto n = at.node.type() == json_node::kind::number ? at.node.as_double() : std::nullopt;
    if (!n || !std::isfinite(*n) || *n < least || *n > most) {
      fail(at, "must be a number from " + shown(least) + " to " + shown(most));
      return least;
    }
    return *n;
  }
  std::int64_t whole(const place& at, std::int64_t least, std::int64_t most) {
    if (!fine())
      return least;
    const auto n = at.node.type() == json_node::kind::number ? at.node.as_double() : std::nullopt;
    if (!n || !std::isfinite(*n) || *n != std::floor(*n) || *n < static_cast<double>(least) ||
        *n > static_cast<double>(most)) {
      fail(at, "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
      return least;
    }
    return static_cast<std::int64_t>(*n);
  }
  static std::string shown(double n) {
    calls::json_writer w;
    w.number(n);
    return w.take();
  }
  std::string text(const place& at) {
    if (!fine() || !is(at, json_node::kind::string, "a string"))
      return {};
    std::string s{*at.node.as_string()};
    if (s.empty() || s.size() > 200)
      fail(at, "must have 1 to 200 characters");
    return s;
  }
  bool boolean(const place& at) {
    return fine() && is(at, json_node::kind::boolean, "true or false") && *at.node.as_boolean();
  }

  /// The value of a name; a mistake, with the nearest one, if it is none.
  std::size_t named(const place& at, const std::map<std::string, std::size_t, std::less<>>& names,
                    const std::string& what) {
    const std::string name = text(at);
    if (!fine())
      return 0;
    if (const auto found = names.find(name); found != names.end())
      return found->second;
    std::vector<std::string_view> known;
    for (const auto& [n, index] : names)
      known.push_back(n);
    const auto near = nearest(name, known);
    fail(at, "names " + what + " '" + name + "', which there is not" +
                 (near.empty() ? std::string{} : "; is '" + std::string{near} + "' meant?"));
    return 0;
  }
  void claim(const place& at, std::map<std::string, std::size_t, std::less<>>& names, const std::string& name,
             std::size_t index) {
    if (fine() && !names.emplace(name, index).second)
      fail(at, "is '" + name + "', as another one is");
  }

  std::uint64_t memory(const place& at) {
    return static_cast<std::uint64_t>(std::llround(number(at, 0, max_memory_mb) * 1e6));
  }
  placing::micro_cost cost(const place& at) { return std::llround(number(at, 0, max_cost) * 1e6); }

  // -- the cluster and the catalogue
  // ---------------------------------------------------------------------------------------

  void read_nodes(const place& at) {
    if (!fine() || !is(at, json_node::kind::array, "an array"))
      return;
    if (at.node.size() == 0 || at.node.size() > 10'000)
      fail(at, "must list 1 to 10000 nodes");
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i) {
      const place n = element(at, i);
      keys(n, {"id", "resource", "lanes", "memory_mb"});
      workload_node& node = out.nodes.emplace_back();
      node.name = text(member(n, "id"));
      claim(member(n, "id"), node_names_, node.name, i);
      const std::string resource = text(member(n, "resource"));
      if (fine() && resource != "cpu" && resource != "gpu")
        fail(member(n, "resource"), "must be cpu or gpu");
      node.resource = resource == "gpu" ? resource_type::gpu : resource_type::cpu;
      node.lanes = static_cast<std::uint32_t>(whole(member(n, "lanes"), 1, 1024));
      node.memory_bytes = memory(member(n, "memory_mb"));
      if (fine() && node.memory_bytes == 0)
        fail(member(n, "memory_mb"), "must be more than 0");
    }
  }

  workload_variant read_variant(const place& at) {
    keys(at, {"exec", "load", "memory_mb", "cost", "batch_max", "beta"});
    workload_variant v;
    v.exec = number(member(at, "exec"), 0, static_cast<double>(max_ms));
    if (fine() && v.exec <= 0)
      fail(member(at, "exec"), "must be more than 0");
    v.load = whole(member(at, "load"), 0, max_ms);
    v.memory_bytes = memory(member(at, "memory_mb"));
    v.cost = cost(member(at, "cost"));
    v.batch_max = static_cast<std::uint32_t>(whole(member(at, "batch_max"), 1, 1024));
    v.beta = number(member(at, "beta"), 0, 1000);
    return v;
  }

  void read_functions(const place& at) {
    if (!fine() || !is(at, json_node::kind::object, "an object"))
      return;
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i) {
      const auto [name, value] = at.node.member(i);
      const place f = step(at, value, name);
      claim(f, function_names_, std::string{name}, i);
      keys(f, {"cpu", "gpu"});
      workload_function& function = out.functions.emplace_back();
      function.name = name;
      if (const auto cpu = optional(f, "cpu"))
        function.cpu = read_variant(*cpu);
      if (const auto gpu = optional(f, "gpu"))
        function.gpu = read_variant(*gpu);
      if (fine() && !function.cpu && !function.gpu)
        fail(f, "has neither 'cpu' nor 'gpu'");
    }
  }

  // -- DAGs
  // -------------------------------------------------------------------------------------------------------------------

  void read_dags(const place& at) {
    if (!fine() || !is(at, json_node::kind::object, "an object"))
      return;
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i) {
      const auto [name, value] = at.node.member(i);
      const place d = step(at, value, name);
      claim(d, dag_names_, std::string{name}, i);
      keys(d, {"stages"});
      out.dags.push_back({std::string{name}, {}});
      read_stages(member(d, "stages"), out.dags.back());
    }
  }

  void read_stages(const place& at, workload_dag& dag) {
    if (!fine() || !is(at, json_node::kind::array, "an array"))
      return;
    if (at.node.size() == 0 || at.node.size() > 1000)
      return fail(at, "must list 1 to 1000 stages");
    std::map<std::string, std::size_t, std::less<>> names;
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i)
      claim(element(at, i), names, text(member(element(at, i), "name")), i);
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i) {
      const place s = element(at, i);
      keys(s, {"name", "function", "after", "chance", "map", "width_max", "best_effort"});
      workload_stage& stage = dag.stages.emplace_back();
      stage.name = text(member(s, "name"));
      stage.function = named(member(s, "function"), function_names_, "a function");
      read_after(member(s, "after"), names, stage);
      if (const auto chance = optional(s, "chance"))
        stage.chance_ppm = static_cast<std::uint32_t>(std::llround(number(*chance, 0, 1) * 1e6));
      if (const auto map = optional(s, "map"))
        stage.map = boolean(*map);
      if (const auto width = optional(s, "width_max"))
        stage.width_max = static_cast<std::uint32_t>(whole(*width, 1, 100'000));
      if (const auto count = optional(s, "best_effort"))
        stage.best_effort = static_cast<std::uint32_t>(whole(*count, 1, 1000));
      if (fine() && stage.best_effort > stage.after.size())
        fail(s, "goes on with 'best_effort' producers, but has only " + std::to_string(stage.after.size()));
      if (fine() && stage.width_max > 1 && !stage.map)
        fail(s, "has a 'width_max' and is not a map");
    }
    if (fine())
      sort_stages(at, dag);
  }

  void read_after(const place& at, const std::map<std::string, std::size_t, std::less<>>& names,
                  workload_stage& stage) {
    if (!fine() || !is(at, json_node::kind::array, "an array"))
      return;
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i)
      stage.after.push_back(static_cast<stage_index>(named(element(at, i), names, "a stage")));
    std::sort(stage.after.begin(), stage.after.end());
    if (std::adjacent_find(stage.after.begin(), stage.after.end()) != stage.after.end())
      fail(at, "names a stage twice");
  }

  /// Into topological order: again and again the first stage in the file whose producers are all placed.
  void sort_stages(const place& at, workload_dag& dag) {
    const std::size_t n = dag.stages.size();
    std::vector<stage_index> place_of(n, ~stage_index{0});
    std::vector<workload_stage> sorted;
    while (sorted.size() < n) {
      std::size_t next = 0;
      while (next < n && (place_of[next] != ~stage_index{0} ||
                          std::any_of(dag.stages[next].after.begin(), dag.stages[next].after.end(),
                                      [&](stage_index p) { return place_of[p] == ~stage_index{0}; })))
        ++next;
      if (next == n) {
        const auto stuck = std::find(place_of.begin(), place_of.end(), ~stage_index{0}) - place_of.begin();
        return fail(at, "go in a circle: stage '" + dag.stages[static_cast<std::size_t>(stuck)].name +
                            "' waits for itself by way of 'after'");
      }
      place_of[next] = static_cast<stage_index>(sorted.size());
      sorted.push_back(dag.stages[next]);
    }
    for (workload_stage& s : sorted) {
      for (stage_index& p : s.after)
        p = place_of[p];
      std::sort(s.after.begin(), s.after.end());
    }
    dag.stages = std::move(sorted);
  }

  // -- requests
  // ---------------------------------------------------------------------------------------------------------------

  void read_requests(const place& at) {
    if (!fine() || !is(at, json_node::kind::array, "an array"))
      return;
    std::set<std::uint64_t> ids;
    out.requests.reserve(at.node.size());
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i) {
      const place r = element(at, i);
      if (!is(r, json_node::kind::array, "an array"))
        return;
      if (r.node.size() != 6 && r.node.size() != 7)
        return fail(r,
                    "must be [id, arrival, dag, latency_slo, cost_slo, stages that will not run, extras]; the last "
                    "one may be left out");
      workload_request& request = out.requests.emplace_back();
      request.id = static_cast<std::uint64_t>(whole(element(r, 0), 0, std::int64_t{1} << 53));
      if (fine() && !ids.insert(request.id).second)
        fail(element(r, 0), "is the id of another request, too");
      request.arrival = whole(element(r, 1), 0, max_ms);
      request.dag = named(element(r, 2), dag_names_, "a DAG");
      request.latency_slo = whole(element(r, 3), 1, max_ms);
      if (!element(r, 4).node.is_null())
        request.cost_slo = cost(element(r, 4));
      if (!fine())
        return;
      stage_names_.clear();
      for (std::size_t s = 0; s < out.dags[request.dag].stages.size(); ++s)
        stage_names_.emplace(out.dags[request.dag].stages[s].name, s);
      read_skips(element(r, 5), request);
      if (r.node.size() == 7)
        read_extras(element(r, 6), request);
    }
    std::stable_sort(out.requests.begin(), out.requests.end(),
                     [](const workload_request& a, const workload_request& b) { return a.arrival < b.arrival; });
  }

  stage_truth& truth(workload_request& request, std::size_t stage) {
    const auto at = std::lower_bound(request.truths.begin(), request.truths.end(), stage,
                                     [](const stage_truth& t, std::size_t s) { return t.stage < s; });
    if (at != request.truths.end() && at->stage == stage)
      return *at;
    return *request.truths.insert(at, stage_truth{static_cast<stage_index>(stage)});
  }

  void read_skips(const place& at, workload_request& request) {
    if (!fine() || !is(at, json_node::kind::array, "an array"))
      return;
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i)
      truth(request, named(element(at, i), stage_names_, "a stage")).runs = false;
  }

  void read_extras(const place& at, workload_request& request) {
    keys(at, {"stretch", "priority", "prefer", "redeem", "width"});
    if (const auto stretch = optional(at, "stretch"))
      read_by_stage(*stretch,
                    [&](const place& p, std::size_t s) { truth(request, s).stretch = number(p, 0.001, 1000); });
    if (const auto width = optional(at, "width"))
      read_by_stage(*width, [&](const place& p, std::size_t s) {
        const workload_stage& stage = out.dags[request.dag].stages[s];
        if (!stage.map)
          fail(p, "is of a stage that is not a map");
        truth(request, s).width = static_cast<std::uint32_t>(whole(p, 0, stage.width_max));
      });
    if (const auto priority = optional(at, "priority"))
      request.priority = static_cast<std::uint32_t>(whole(*priority, 0, 1'000'000));
    if (const auto prefer = optional(at, "prefer"))
      read_preference(*prefer, request);
    if (const auto redeem = optional(at, "redeem"))
      read_redemption(*redeem, request);
  }

  template <class Read>
  void read_by_stage(const place& at, Read read) {
    if (!is(at, json_node::kind::object, "an object"))
      return;
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i) {
      const auto [name, value] = at.node.member(i);
      const place p = step(at, value, name);
      const auto stage = stage_names_.find(name);
      if (stage == stage_names_.end())
        return fail(p, "is of a stage that the DAG does not have");
      read(p, stage->second);
    }
  }

  void read_preference(const place& at, workload_request& request) {
    const std::string word = text(at);
    if (word == "least-loaded")
      request.prefer = placing::preference::least_loaded;
    else if (word == "fastest")
      request.prefer = placing::preference::fastest;
    else if (fine() && word != "cheapest")
      fail(at, "must be cheapest, fastest or least-loaded");
  }

  void read_redemption(const place& at, workload_request& request) {
    if (!is(at, json_node::kind::array, "an array"))
      return;
    if (at.node.size() != 2)
      return fail(at, "must be [\"earliest\" or \"cheapest\", delay]");
    const std::string which = text(element(at, 0));
    if (fine() && which != "earliest" && which != "cheapest")
      fail(element(at, 0), "must be earliest or cheapest");
    request.redeem = redemption{which == "cheapest", whole(element(at, 1), 0, max_ms)};
  }

  void read_events(const place& at) {
    if (!is(at, json_node::kind::array, "an array"))
      return;
    for (std::size_t i = 0; i < at.node.size() && fine(); ++i) {
      const place e = element(at, i);
      if (!is(e, json_node::kind::array, "an array"))
        return;
      if (e.node.size() != 3)
        return fail(e, "must be [time, \"lose\" or \"join\", node]");
      workload_change& change = out.changes.emplace_back();
      change.at = whole(element(e, 0), 0, max_ms);
      const std::string what = text(element(e, 1));
      if (fine() && what != "lose" && what != "join")
        fail(element(e, 1), "must be lose or join");
      change.lose = what == "lose";
      change.node = named(element(e, 2), node_names_, "a node");
    }
    std::stable_sort(out.changes.begin(), out.changes.end(),
                     [](const workload_change& a, const workload_change& b) { return a.at < b.at; });
  }

  std::map<std::string, std::size_t, std::less<>> node_names_;
  std::map<std::string, std::size_t, std::less<>> function_names_;
  std::map<std::string, std::size_t, std::less<>> dag_names_;
  std::map<std::string, std::size_t, std::less<>> stage_names_; ///< of the request that is being read
  std::string wrong_;
};

} // namespace

result<workload> parse_workload(std::string_view text, std::string_view file) {
  const auto document = calls::json_document::parse(text);
  const std::string prefix = std::string{file} + ": ";
  if (!document.ok())
    return {document.error().code, prefix + document.error().message};
  file_reader reader;
  if (const auto read = reader.read(document->root()); !read.ok())
    return {read.error().code, prefix + read.error().message};
  return std::move(reader.out);
}

result<workload> read_workload(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  if (!in)
    return {errc::not_found, path + ": cannot be opened"};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  return parse_workload(text, path);
}

} // namespace squall::sim
