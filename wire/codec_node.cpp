#include "wire/detail/codec_of.hpp"

SQUALL_CODEC_OF(squall::wire::node_hello);
SQUALL_CODEC_OF(squall::wire::node_welcome);
SQUALL_CODEC_OF(squall::wire::node_beat);
SQUALL_CODEC_OF(squall::wire::node_leave);
SQUALL_CODEC_OF(squall::wire::peers);
SQUALL_CODEC_OF(squall::wire::define_function);
SQUALL_CODEC_OF(squall::wire::define_dag);
SQUALL_CODEC_OF(squall::wire::forget_dag);
SQUALL_CODEC_OF(squall::wire::forget_function);
SQUALL_CODEC_OF(squall::wire::start_call);
SQUALL_CODEC_OF(squall::wire::drop_call);
SQUALL_CODEC_OF(squall::wire::release_call);
SQUALL_CODEC_OF(squall::wire::call_finished);
SQUALL_CODEC_OF(squall::wire::settled);
SQUALL_CODEC_OF(squall::wire::scatter);
SQUALL_CODEC_OF(squall::wire::gathered);
SQUALL_CODEC_OF(squall::wire::stage_partial);
SQUALL_CODEC_OF(squall::wire::preload);
SQUALL_CODEC_OF(squall::wire::residency);
SQUALL_CODEC_OF(squall::wire::end_sequence);
SQUALL_CODEC_OF(squall::wire::stage_ready);
SQUALL_CODEC_OF(squall::wire::hand_out);
SQUALL_CODEC_OF(squall::wire::order_short);
SQUALL_CODEC_OF(squall::wire::order_report);
SQUALL_CODEC_OF(squall::wire::want_replica);
SQUALL_CODEC_OF(squall::wire::replica_report);
