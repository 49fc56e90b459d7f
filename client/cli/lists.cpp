#include "client/cli/parts.hpp"
#include "client/cli/promise_flags.hpp"
#include "client/cli/render.hpp"
#include "client/nearest.hpp"
#include "client/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

/// get, describe and delete.
namespace squall::client::cli {

namespace {

using calls::json_node;

/// What can be listed, with what a table shows of it.
struct listing {
  std::string_view plural;
  std::string_view singular;
  std::vector<column> columns;
};

const std::vector<listing>& listings() {
  static const std::vector<listing> all{
      {"functions",
       "function",
       {{"NAME", "name"},
        {"VERSION", "version"},
        {"INPUTS", "inputs", shown_as::names},
        {"OUTPUTS", "outputs", shown_as::names},
        {"VARIANTS", "variants", shown_as::names},
        {"DRIFT", "drift"}}},
      {"dags",
       "dag",
       {{"NAME", "name"},
        {"VERSION", "version"},
        {"INPUTS", "inputs", shown_as::names},
        {"OUTPUTS", "outputs", shown_as::names},
        {"STAGES", "stages", shown_as::count}}},
      {"nodes",
       "node",
       {{"NAME", "name"},
        {"LANES", "lanes"},
        {"RUNNING", "running"},
        {"QUEUED", "queued"},
        {"RESIDENT", "resident_variants"},
        {"MEMORY", "resident_bytes", shown_as::size_bytes},
        {"ARENA", "arena_used_bytes", shown_as::size_bytes},
        {"UP", "up_ns", shown_as::duration_ns},
        {"ENDPOINT", "endpoint"}}},
      {"calls",
       "call",
       {{"ID", "id"},
        {"DAG", "dag"},
        {"VERSION", "version"},
        {"STATE", "state"},
        {"ELAPSED", "elapsed_ns", shown_as::duration_ns},
        {"AGO", "ago_ns", shown_as::duration_ns},
        {"MESSAGE", "message"}}},
      {"instances",
       "instance",
       {{"FUNCTION", "function"},
        {"VARIANT", "variant"},
        {"NODE", "node"},
        {"PID", "pid"},
        {"STATE", "state"},
        {"MEMORY", "memory_bytes", shown_as::size_bytes},
        {"BATCHES", "batches"},
        {"AGE", "age_ns", shown_as::duration_ns},
        {"PROBLEM", "problem"}}},
      {"keys", "key", {{"KEY", "key"}, {"SIZE", "size_bytes", shown_as::size_bytes}, {"VERSION", "version"}}},
      {"promises", "promise", promise_columns()},
      {"policy", "policy", {}},
      {"status", "status", {}},
      {"metrics", "metric", {}},
  };
  return all;
}

/// The option's check has made sure that there is one.
const listing& find_listing(std::string_view kind) {
  const auto found =
      std::ranges::find_if(listings(), [&](const listing& l) { return l.plural == kind || l.singular == kind; });
  SQUALL_CHECK(found != listings().end(), kind);
  return *found;
}

const std::vector<column> trace_columns{{"STAGE", "stage"},
                                        {"NODE", "node"},
                                        {"LANE", "lane"},
                                        {"WIDTH", "width"},
                                        {"BATCH", "batch"},
                                        {"BEGIN", "begin_ns", shown_as::duration_ns},
                                        {"QUEUED", "queued_ns", shown_as::duration_ns},
                                        {"LOADING", "loading_ns", shown_as::duration_ns},
                                        {"EXECUTED", "executed_ns", shown_as::duration_ns},
                                        {"IN", "bytes_in", shown_as::size_bytes},
                                        {"OUT", "bytes_out", shown_as::size_bytes},
                                        {"MOVED", "bytes_moved", shown_as::size_bytes}};

bool is_set(const json_node& object, std::string_view key) {
  const auto flag = object.find(key);
  return flag && flag->as_boolean().value_or(false);
}

std::string trace_table(const json_node& trace) {
  std::vector<std::string> header;
  for (const column& c : trace_columns)
    header.emplace_back(c.title);
  header.emplace_back("END");
  table out{std::move(header)};
  for (std::size_t i = 0; i < trace.size(); ++i) {
    const json_node stage = trace.element(i);
    const bool skipped = is_set(stage, "skipped");
    std::vector<std::string> row;
    for (const column& c : trace_columns)
      row.push_back(skipped && c.key != "stage" && c.key != "node" ? "-" : cell_of(stage, c));
    row.emplace_back(skipped                      ? "skipped"
                     : is_set(stage, "failed")    ? "failed"
                     : is_set(stage, "cancelled") ? "cancelled"
                     : is_set(stage, "late")      ? "late"
                                                  : "ran");
    out.add(std::move(row));
  }
  return out.text();
}

std::string describe_call(const json_node& call) {
  std::string out;
  for (const column& c :
       {column{"call", "id"}, column{"dag", "dag"}, column{"version", "version"}, column{"state", "state"},
        column{"message", "message"}, column{"elapsed", "elapsed_ns", shown_as::duration_ns}})
    if (const std::string cell = cell_of(call, c); !cell.empty() && cell != "-")
      out += fmt::format("{:<9}{}\n", std::string{c.title} + ":", cell);
  const auto trace = call.find("trace");
  return trace && trace->size() > 0 ? out + "\n" + trace_table(*trace) : out;
}

std::string keys_json(const std::vector<kv_entry>& entries) {
  calls::json_writer out;
  out.begin_array();
  for (const kv_entry& entry : entries) {
    out.begin_object();
    out("key", entry.key);
    out("size_bytes", entry.size_bytes);
    out("version", entry.version);
    out.end_object();
  }
  out.end_array();
  return out.take();
}

/// An unknown name is answered with the nearest one.
error with_suggestion(cluster& from, const listing& what, const std::string& name, error e) {
  if (e.code != errc::not_found)
    return e;
  const auto list = from.query(what.plural);
  auto document = calls::json_document::parse(list.ok() ? *list : "[]");
  if (!document.ok())
    return e;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < document->root().size(); ++i)
    if (const auto n = document->root().element(i).find("name"))
      names.emplace_back(n->as_string().value_or(""));
  const std::vector<std::string_view> views{names.begin(), names.end()};
  return {errc::not_found, unknown_name(what.singular, name, views), {}};
}

struct list_flags {
  std::string kind;
  std::string name;
};

/// Who looks at the nodes wants to know that the store is not there.
void say_if_store_is_lost(session& session, cluster& from) {
  const auto body = from.query("status");
  const auto status = body ? calls::json_document::parse(*body) : body.error();
  const auto lost = status ? status->root().find("store_lost") : std::nullopt;
  const auto silent = status ? status->root().find("store_silent_ns") : std::nullopt;
  if (lost && lost->as_boolean().value_or(false))
    session.say(fmt::format("the store is lost: it has not answered for {:.1f} s",
                            silent ? static_cast<double>(silent->as_int64().value_or(0)) / 1e9 : 0.0));
}

result<> get(session& session, cluster& from, const list_flags& flags) {
  const listing& what = find_listing(flags.kind);
  SQUALL_ASSIGN(format, session.format());
  std::string json;
  if (what.plural == "keys") {
    SQUALL_ASSIGN(entries, from.kv().list(flags.name));
    json = keys_json(entries);
  } else {
    auto body = from.query(what.plural, flags.name);
    if (!body.ok())
      return with_suggestion(from, what, flags.name, body.error());
    json = std::move(body).value();
  }
  SQUALL_ASSIGN(text, rendered(format, json, [&](const json_node& node) {
                  const bool list = node.type() == json_node::kind::array && !what.columns.empty();
                  return list ? table_of(node, what.columns) : yaml_of(node);
                }));
  session.print(text);
  if (what.plural == "nodes")
    say_if_store_is_lost(session, from);
  return {};
}

result<> describe(session& session, cluster& from, const list_flags& flags) {
  const listing& what = find_listing(flags.kind);
  if (what.plural == "keys")
    return {errc::invalid_argument,
            "a key has nothing more to describe; use `squall get keys PREFIX` or `squall kv get KEY`"};
  SQUALL_ASSIGN(format, session.format());
  auto body = from.query(what.plural, flags.name);
  if (!body.ok())
    return what.plural == "calls" ? result<>{body.error()} : with_suggestion(from, what, flags.name, body.error());
  SQUALL_ASSIGN(text, rendered(format, *body, [&](const json_node& node) {
                  return what.plural == "calls" ? describe_call(node) : yaml_of(node);
                }));
  session.print(text);
  return {};
}

result<> remove(session& session, cluster& from, const list_flags& flags) {
  const listing& what = find_listing(flags.kind);
  const std::size_t mark = flags.name.find('@');
  const std::string name = flags.name.substr(0, mark);
  std::uint32_t version = 0;
  if (mark != std::string::npos) {
    const char* end = flags.name.data() + flags.name.size();
    const auto [rest, failure] = std::from_chars(flags.name.data() + mark + 1, end, version);
    if ((failure != std::errc{} || rest != end || version == 0) && what.plural != "keys")
      return {errc::invalid_argument, fmt::format("'{}' is not a name with a version such as {}@2", flags.name, name)};
  }
  if (what.plural == "functions")
    SQUALL_TRY(from.remove_function(name, version));
  else if (what.plural == "dags")
    SQUALL_TRY(from.remove_dag(name, version));
  else if (what.plural == "keys")
    SQUALL_TRY(from.kv().erase(flags.name));
  else
    return {errc::invalid_argument, fmt::format("{} cannot be deleted; functions, dags and keys can", what.plural)};
  session.print(fmt::format("{} {} deleted\n", what.singular, flags.name));
  return {};
}

} // namespace

void add_list_verbs(CLI::App& app, const shared_session& session) {
  constexpr auto kinds = "functions, dags, nodes, calls, promises, keys, policy, status or metrics";
  const auto flags = std::make_shared<list_flags>();
  std::vector<std::string_view> words;
  for (const listing& l : listings())
    words.push_back(l.plural);
  for (const listing& l : listings())
    if (l.singular != l.plural)
      words.push_back(l.singular);
  const auto add = [&](const char* name, const char* help, const char* kinds_of, auto verb_function) {
    auto* verb = app.add_subcommand(name, help);
    verb->add_option("kind", flags->kind, kinds_of)->required()->check(is_one_of("kind", words));
    verb->callback(session->run_connected(
        [session, flags, verb_function](cluster& c) -> result<> { return verb_function(*session, c, *flags); }));
    return verb;
  };
  add("get", "list what there is", kinds, get)->add_option("name", flags->name, "only this one; of keys: the prefix");
  add("describe", "show one thing in full; of a call its trace", kinds, describe)
      ->add_option("name", flags->name, "name, or id of a call")
      ->required();
  add("delete", "remove a function, a DAG or a key", "functions, dags or keys", remove)
      ->add_option("name", flags->name, "name, or name@version")
      ->required();
}

} // namespace squall::client::cli
