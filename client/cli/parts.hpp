#pragma once

#include "client/cli/session.hpp"

#include <memory>

/// The verbs, one function each; verbs.cpp puts them together.
namespace squall::client::cli {

using shared_session = std::shared_ptr<session>;

void add_apply_verb(CLI::App& app, const shared_session& session);
void add_list_verbs(CLI::App& app, const shared_session& session); ///< get, describe, delete
void add_call_verb(CLI::App& app, const shared_session& session);
void add_kv_verbs(CLI::App& app, const shared_session& session);
void add_policy_verbs(CLI::App& app, const shared_session& session);
void add_drain_verb(CLI::App& app, const shared_session& session);
void add_bench_verb(CLI::App& app, const shared_session& session);
void add_promise_verbs(CLI::App& app, const shared_session& session); ///< promises, explain
void add_build_verb(CLI::App& app, const shared_session& session);
void add_version_verb(CLI::App& app, const shared_session& session);

} // namespace squall::client::cli
