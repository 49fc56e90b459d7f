#pragma once

#include "calls/call.hpp"
#include "executors/flow_graph.hpp"

#include <optional>
#include <utility>
#include <vector>

namespace squall::executors {

/// The dataflow of one call on one node: when the stages whose home the node is are ready, skipped or settled, and who
/// must hear of it. Pure: it knows no clock and sends nothing. Facts go in, decisions come out; the driver carries them
/// out in any order.
///
/// A stage is judged when all of its producers have settled (join `count`: when enough have), under the rules of
/// functions/spec.hpp:
/// - what a required input lacks, the stage lacks: it is skipped. In a map the same holds element by element;
/// - join `any` and `count` ask for that many producers that were not skipped (in a map: whose element is present);
/// - a condition over lists in a map is tested element by element, else once for the stage;
/// - a map of width 0, or none of whose elements runs, settles at once;
/// - a stage that may fail is skipped by its failure, in a map only the elements that failed;
/// - a join of `count` that went on ignores what its other producers bring later, and marks them as late in the trace;
/// one
///   that must have its count (`must`) also cancels those that nobody else waits for, with what only they wait for;
/// - a join that must have its count and cannot, because producers failed, fails the call.
class flow {
public:
  /// `plan` must be for the DAG and outlive the flow. `wait_cap` bounds the waits of joins: the age at which the call
  /// must be answered.
  flow(std::shared_ptr<const flow_graph> graph, const calls::plan& plan, node_id self, duration wait_cap);

  /// These stages are skipped. To be called before anything else.
  void leave_out(const std::vector<stage_index>& stages);

  // -- facts. Repeated ones are ignored; an error says that the message was not for this call and changes nothing

  /// The inputs of the DAG (start_call). Those that nothing here reads may be absent.
  result<> start(std::vector<functions::value> inputs);

  /// A stage of another node has ended. `outputs`: empty or one per output.
  result<> settle(stage_index stage, bool skipped, std::vector<functions::value> outputs);

  /// An element of a ready stage has ended; element 0 when the stage is no map.
  void complete(stage_index stage, std::uint32_t element, std::vector<functions::value> outputs);
  void fail(stage_index stage, std::uint32_t element, const error& why);

  /// A stage of another node goes on without this stage's outputs. Cancels the stage when nobody is left that waits for
  /// it.
  void unwanted(stage_index stage, stage_index consumer);

  /// What a ready stage reads through a port that no edge feeds.
  void provide(stage_index stage, std::uint32_t element, std::uint32_t port, functions::value value);
  [[nodiscard]] bool provided(stage_index stage) const; ///< with anything

  /// The driver cannot do what was decided about the stage: the call fails.
  void abort(stage_index stage, const error& why) { give_up(stage, why.code, why.message); }

  /// The call is so old now; ages later facts, and ends the waits of joins. To be called before other facts.
  void pass_time(duration age);

  /// Figures of stages that ended elsewhere. The first one for a stage counts.
  void add_trace(const std::vector<calls::stage_trace>& trace);

  // -- decisions

  struct ready_stage {
    stage_index stage = 0;
    std::vector<std::uint32_t> elements; ///< of a map: those that run, ascending; else {0}
  };
  /// A stage of this node has settled: `node` must hear of it.
  struct departure {
    stage_index stage = 0;
    node_id node;
  };
  [[nodiscard]] std::vector<ready_stage> take_ready() { return std::exchange(ready_, {}); }
  [[nodiscard]] std::vector<departure> take_departures() { return std::exchange(departures_, {}); }
  /// A stage of another node that a stage of this node goes on without.
  struct refusal {
    stage_index stage = 0;
    stage_index consumer = 0;
    node_id node;
  };
  [[nodiscard]] std::vector<refusal> take_refusals() { return std::exchange(refusals_, {}); }
  /// Ready stages that were cancelled: what of them is queued or runs ends now.
  [[nodiscard]] std::vector<stage_index> take_cancelled() { return std::exchange(cancelled_, {}); }
  /// Stages of this node that settled without having been ready: nothing of them runs.
  [[nodiscard]] std::vector<stage_index> take_passed_over() { return std::exchange(passed_over_, {}); }

  /// The call cannot succeed. The message names the stage and its function.
  [[nodiscard]] const std::optional<error>& failure() const { return failure_; }
  /// The exit is here, and every output is known.
  [[nodiscard]] bool finished() const {
    return exit_here_ && exit_missing_ == 0 && (started_ || !graph_->exit_waits_for_start);
  }
  /// Nothing more will be decided on this node.
  [[nodiscard]] bool over() const { return failure_ || finished() || (!exit_here_ && unsettled_ == 0); }
  /// The age at which pass_time() may decide something by itself.
  [[nodiscard]] std::optional<duration> next_wait() const;

  // -- values and figures

  /// What a ready stage runs on: a value per input port of its function; ports of state are absent.
  [[nodiscard]] std::vector<functions::value> inputs_of(stage_index stage, std::uint32_t element) const;
  /// The same without the mapped inputs, and only the mapped ones (for elements that run elsewhere).
  [[nodiscard]] std::vector<functions::value> whole_inputs_of(stage_index stage) const;
  [[nodiscard]] std::vector<functions::value> mapped_inputs_of(stage_index stage, std::uint32_t element) const;
  /// Bytes that a ready stage reads from outputs of stages whose home satisfies `of`; inputs of the DAG have home zero.
  template <class Predicate>
  [[nodiscard]] std::uint64_t bytes_read(stage_index stage, const Predicate& of) const {
    std::uint64_t bytes = 0;
    for (const auto& input : spec(stage).inputs)
      if (input.bound && input.source.from != functions::binding::source::constant &&
          of(input.source.from == functions::binding::source::dag_input ? node_id{} : home(input.source.stage)))
        bytes += source_value(stage, input.source).byte_size();
    return bytes;
  }

  /// An element of a ready stage that has not ended.
  [[nodiscard]] bool running(stage_index stage, std::uint32_t element) const;
  [[nodiscard]] bool skipped(stage_index stage) const { return states_[stage].skipped; }
  /// Which of a settled stage's outputs the consumers on a node read; ascending.
  [[nodiscard]] std::vector<std::uint32_t> outputs_read_by(stage_index stage, node_id node) const;
  /// A settled stage's outputs for a node: those that no consumer there reads are absent.
  [[nodiscard]] std::vector<functions::value> outputs_for(stage_index stage, node_id node) const;
  /// The DAG's outputs, once finished().
  [[nodiscard]] std::vector<functions::value> outputs() const;

  /// The figures of a stage that is ready and has not ended, to add to; null for others.
  [[nodiscard]] calls::stage_trace* open_trace(stage_index stage);
  /// What is known of all stages, ascending.
  [[nodiscard]] std::vector<calls::stage_trace> trace() const;
  /// The part of it that was not asked for `node` before.
  [[nodiscard]] std::vector<calls::stage_trace> news_for(node_id node);
  /// Stages whose end is not known here, ascending.
  [[nodiscard]] std::vector<stage_index> unsettled() const;
  /// A stage that does not wait any more.
  struct stage_progress {
    stage_index stage = 0;
    bool ended = false;
    std::uint32_t width = 1;             ///< of one that has not ended: the elements that have not; 0: it was skipped
    std::vector<std::uint32_t> elements; ///< of a map that has not ended: those that have not
  };
  [[nodiscard]] std::vector<stage_progress> progress() const; ///< ascending

  [[nodiscard]] const flow_graph& graph() const { return *graph_; }
  /// "stage 'slow' (function read-small version 1)".
  [[nodiscard]] std::string describe(stage_index stage) const;

private:
  enum class phase : std::uint8_t { waiting, running, settled };
  enum class verdict : std::uint8_t { wait, wait_for_time, skip, run };
  struct stage_state {
    flow::phase phase = phase::waiting;
    bool here = false;
    bool skipped = false;
    bool left_out = false;     ///< the call does without it
    bool ended = false;        ///< its own figures are in trace_
    std::uint32_t missing = 0; ///< producers that have not settled
    std::uint32_t wanted = 0;  ///< consumers that may still read it
    std::uint32_t traced = 0;  ///< its place in trace_, from 1
  };
  struct running_stage {
    stage_index stage = 0;
    std::uint32_t left = 0;  ///< elements that have not ended
    std::vector<bool> ended; ///< of a map; also true for those that do not run
    calls::stage_trace trace;
  };

  void advance();
  void notify(stage_index consumer);
  void stop_wanting(stage_index producer, stage_index consumer);
  void cancel(stage_index stage);
  [[nodiscard]] const error* failure_among(const std::vector<stage_index>& producers) const;
  void skip_or_fail(stage_index stage);
  [[nodiscard]] calls::stage_trace nothing_ran(stage_index stage) const;
  void judge(stage_index stage);
  [[nodiscard]] verdict join(stage_index stage) const;
  [[nodiscard]] verdict join_count(stage_index stage) const;
  [[nodiscard]] bool present(stage_index producer) const {
    return states_[producer].phase == phase::settled && !states_[producer].skipped;
  }
  [[nodiscard]] bool condition(stage_index stage, std::optional<std::size_t> element) const;
  [[nodiscard]] bool lacks_input(stage_index stage) const;
  [[nodiscard]] bool brings(stage_index producer, stage_index reader, std::size_t element) const;
  void launch(stage_index stage);
  void launch_map(stage_index stage);
  /// Of the lists that it takes apart; none when all of them are absent.
  [[nodiscard]] result<std::optional<std::size_t>> width_of(stage_index stage) const;
  [[nodiscard]] bool element_runs(stage_index stage, std::size_t element) const;
  [[nodiscard]] result<> check_inputs(stage_index stage) const;
  void open(stage_index stage, std::vector<std::uint32_t> elements, std::uint32_t width);
  void mark_late_producers(stage_index stage);
  [[nodiscard]] running_stage* find_running(stage_index stage, std::uint32_t element);
  void element_ended(running_stage& running, std::uint32_t element);
  void settle_running(running_stage& running, bool skipped);
  void settle_here(stage_index stage, bool skipped, calls::stage_trace trace);
  void log(const calls::stage_trace& trace, bool ended);
  void give_up(stage_index stage, errc code, const std::string& what);
  void add_provided(stage_index stage, std::uint32_t element, std::vector<functions::value>& inputs) const;
  [[nodiscard]] const functions::value& source_value(stage_index reader,
                                                     const functions::resolved_source& source) const;
  [[nodiscard]] duration wait_of(stage_index stage) const;
  [[nodiscard]] const functions::stage& spec(stage_index stage) const { return graph_->dag->stages[stage]; }
  [[nodiscard]] node_id home(stage_index stage) const {
    return stage == graph_->dag->exit() ? plan_->exit : plan_->stages[stage].home;
  }

  std::shared_ptr<const flow_graph> graph_;
  const calls::plan* plan_;
  node_id self_;
  duration wait_cap_;
  duration age_{0};
  bool started_ = false;
  bool exit_here_ = false;
  std::uint32_t exit_missing_ = 0;
  std::uint32_t unsettled_ = 0; ///< stages of this node
  std::vector<stage_state> states_;
  std::vector<functions::value> inputs_;
  std::vector<functions::value> outputs_; ///< of all stages in one row
  std::vector<running_stage> running_;
  std::vector<stage_index> work_;                         ///< stages to judge
  std::vector<stage_index> waits_;                        ///< undecided joins of this node that wait for time
  std::vector<std::pair<stage_index, stage_index>> late_; ///< reader, producer
  std::vector<calls::stage_trace> trace_;                 ///< in the order in which stages became known
  std::vector<std::pair<node_id, std::size_t>> told_;     ///< how much of trace_ a node knows
  std::vector<ready_stage> ready_;
  std::vector<departure> departures_;
  std::vector<stage_index> passed_over_;
  std::vector<refusal> refusals_;
  std::vector<stage_index> cancelled_;
  std::vector<std::pair<stage_index, stage_index>> refused_; ///< consumer, producer of this node
  std::vector<std::pair<stage_index, error>> failed_;        ///< stages of this node that may fail, and did
  struct provided_value {
    stage_index stage = 0;
    std::uint32_t element = 0;
    std::uint32_t port = 0;
    functions::value value;
  };
  std::vector<provided_value> provided_;
  std::optional<error> failure_;
};

} // namespace squall::executors
