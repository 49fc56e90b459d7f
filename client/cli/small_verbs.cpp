#include "client/cli/parts.hpp"
#include "client/cli/render.hpp"
#include "client/units.hpp"
#include "client/values.hpp"
#include "wire/messages.hpp"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#ifndef SQUALL_VERSION
#error "the build sets SQUALL_VERSION"
#endif

/// kv, policy and version.
namespace squall::client::cli {

namespace {

struct kv_flags {
  std::string key;
  std::string value;
  std::string file;
  std::string prefix;
  bool fast = false;
};

kv_progress progress_of(session& session, const std::string& what, const std::string& key) {
  return [&session, what, key](std::uint64_t done, std::uint64_t total) {
    session.progress(fmt::format("{} {}: {} of {}", what, key, format_size(done), format_size(total)));
  };
}

result<shared_bytes> content_of(const std::string& value, std::FILE* standard_input) {
  if (value.starts_with('@'))
    return read_file(value.substr(1));
  if (value != "-")
    return shared_bytes::copy_of(value);
  std::string content;
  char block[1 << 16];
  while (const std::size_t got = std::fread(block, 1, sizeof block, standard_input))
    content.append(block, got);
  return shared_bytes::take(std::move(content));
}

result<> kv_put(session& session, const kv_flags& flags) {
  // Before connecting: a file that is too large needs no cluster to say so.
  SQUALL_ASSIGN(content, content_of(flags.value, session.context().in));
  SQUALL_ASSIGN(to, session.connect());
  return to->kv().put(flags.key, content,
                      {.durable = !flags.fast, .progress = progress_of(session, "sending", flags.key)});
}

result<> kv_get(session& session, cluster& from, const kv_flags& flags) {
  SQUALL_ASSIGN(format, session.format());
  SQUALL_ASSIGN(value, from.kv().get(flags.key, progress_of(session, "receiving", flags.key)));
  session.progress_done();
  if (!flags.file.empty()) {
    std::FILE* file = std::fopen(flags.file.c_str(), "wb");
    const bool written = file && std::fwrite(value.data(), 1, value.size(), file) == value.size();
    if ((file && std::fclose(file) != 0) || !written)
      return {errc::unavailable, fmt::format("cannot write {}", flags.file)};
    return {};
  }
  if (format == output_format::table) {
    session.print(value.text());
    return {};
  }
  calls::json_writer json;
  json.begin_object();
  json("key", flags.key);
  json("size_bytes", static_cast<std::uint64_t>(value.size()));
  json.key("value");
  json.string(value.text());
  json.end_object();
  SQUALL_ASSIGN(text, rendered(format, json.take(), yaml_of));
  session.print(text);
  return {};
}

result<> kv_list(session& session, cluster& from, const kv_flags& flags) {
  SQUALL_ASSIGN(format, session.format());
  SQUALL_ASSIGN(entries, from.kv().list(flags.prefix));
  calls::json_writer json;
  json.begin_array();
  for (const kv_entry& entry : entries) {
    json.begin_object();
    json("key", entry.key);
    json("size_bytes", entry.size_bytes);
    json("version", entry.version);
    json.end_object();
  }
  json.end_array();
  SQUALL_ASSIGN(text, rendered(format, json.take(), [](const calls::json_node& node) {
                  return table_of(node, {{"KEY", "key"}, {"SIZE", "size_bytes", shown_as::size_bytes}});
                }));
  session.print(text);
  return {};
}

struct policy_flags {
  std::string name;
  std::string share;
  bool shadow = false;
};

result<> set_policy(cluster& of, const policy_flags& flags) {
  if (flags.shadow)
    return of.set_shadow_policy(flags.name);
  if (flags.share.empty())
    return of.set_policy(flags.name);
  SQUALL_ASSIGN(share, parse_share(flags.share));
  return of.set_policy_share(flags.name, share);
}

result<> print_policy(session& session, cluster& from) {
  SQUALL_ASSIGN(format, session.format());
  SQUALL_ASSIGN(body, from.query("policy"));
  SQUALL_ASSIGN(text, rendered(format, body, policy_text));
  session.print(text);
  return {};
}

struct drain_flags {
  std::string node;
  double seconds = 60;
};

result<bool> is_member(cluster& of, const std::string& node) {
  const auto body = of.query("nodes", node);
  if (!body.ok() && body.error().code != errc::not_found)
    return body.error();
  return body.ok();
}

result<> drain_node(session& session, cluster& of, const drain_flags& flags) {
  using clock = std::chrono::steady_clock;
  SQUALL_TRY(of.drain(flags.node));
  const auto until = clock::now() + std::chrono::duration<double>{flags.seconds};
  while (clock::now() < until) {
    SQUALL_ASSIGN(there, is_member(of, flags.node));
    if (!there) {
      session.progress_done();
      session.print(fmt::format("{} has left\n", flags.node));
      return {};
    }
    session.progress(fmt::format("waiting for {} to finish what it has", flags.node));
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  }
  if (flags.seconds > 0)
    return {errc::deadline_exceeded,
            fmt::format("{} is still finishing what it has; nothing more is placed on it", flags.node)};
  session.print(fmt::format("{} takes nothing new and leaves when it has finished\n", flags.node));
  return {};
}

/// Ours always; the cluster's when one answers.
result<> print_version(session& session) {
  SQUALL_ASSIGN(format, session.format());
  calls::json_writer json;
  json.begin_object();
  json("client", std::string{"squall " SQUALL_VERSION});
  json("protocol", wire::protocol_version);
  if (const auto connected = session.connect(); connected.ok()) {
    const cluster_info info = (*connected)->info();
    json("cluster", info.name);
    json("endpoint", (*connected)->endpoint());
    json("server", info.software);
    json("server_protocol", info.protocol_version);
    if (const auto round_trip = (*connected)->ping(); round_trip.ok())
      json("round_trip_ns", *round_trip);
  } else {
    json("no_cluster", connected.error().message);
  }
  json.end_object();
  SQUALL_ASSIGN(text, rendered(format, json.take(), yaml_of));
  session.print(text);
  return {};
}

} // namespace

void add_kv_verbs(CLI::App& app, const shared_session& session) {
  const auto flags = std::make_shared<kv_flags>();
  auto* kv = app.add_subcommand("kv", "read and write the store");
  kv->require_subcommand(1);
  auto* put = kv->add_subcommand("put", "write a value");
  put->add_option("key", flags->key)->required();
  put->add_option("value", flags->value, "text, @FILE, or - (standard input)")->required();
  put->add_flag("--fast", flags->fast, "do not wait until it is on the disk")->envname("SQUALL_FAST");
  put->callback(session->run([session, flags] { return kv_put(*session, *flags); }));
  auto* get = kv->add_subcommand("get", "print a value as it is");
  get->add_option("key", flags->key)->required();
  get->add_option("--to", flags->file, "write it to this file")->envname("SQUALL_TO");
  get->callback(session->run_connected([session, flags](cluster& c) { return kv_get(*session, c, *flags); }));
  auto* erase = kv->add_subcommand("delete", "remove a value");
  erase->add_option("key", flags->key)->required();
  erase->callback(session->run_connected([flags](cluster& c) { return c.kv().erase(flags->key); }));
  auto* list = kv->add_subcommand("list", "list keys");
  list->add_option("prefix", flags->prefix);
  list->callback(session->run_connected([session, flags](cluster& c) { return kv_list(*session, c, *flags); }));
}

void add_policy_verbs(CLI::App& app, const shared_session& session) {
  auto* policy = app.add_subcommand("policy", "show or switch the rule by which calls are placed");
  policy->require_subcommand(1);
  policy->add_subcommand("get", "show it")->callback(session->run_connected([session](cluster& c) {
    return print_policy(*session, c);
  }));
  const auto flags = std::make_shared<policy_flags>();
  auto* set = policy->add_subcommand("set", "switch it; calls that run go on");
  set->add_option("name", flags->name, "such as fifo, rr or calendar")->required();
  auto* share = set->add_option("--share", flags->share,
                                "only for this part of the calls, such as 20%, on nodes of its own; 0 ends it");
  set->add_flag("--shadow", flags->shadow, "it only computes, and is compared (`policy get`); the name none ends it")
      ->excludes(share);
  set->callback(session->run_connected([flags](cluster& c) { return set_policy(c, *flags); }));
}

void add_drain_verb(CLI::App& app, const shared_session& session) {
  const auto flags = std::make_shared<drain_flags>();
  auto* drain = app.add_subcommand("drain", "let a node finish what it has and leave; it is not started again");
  drain->add_option("node", flags->node, "its name")->required();
  drain->add_option("--wait", flags->seconds, "seconds to wait for it to have left; 0: none")->envname("SQUALL_WAIT");
  drain->callback(session->run_connected([session, flags](cluster& c) { return drain_node(*session, c, *flags); }));
}

void add_version_verb(CLI::App& app, const shared_session& session) {
  app.add_subcommand("version", "show the versions of this program and of the cluster")
      ->callback(session->run([session] { return print_version(*session); }));
}

} // namespace squall::client::cli
