#include "wire/detail/codec_of.hpp"

SQUALL_CODEC_OF(squall::wire::hello);
SQUALL_CODEC_OF(squall::wire::welcome);
SQUALL_CODEC_OF(squall::wire::ping);
SQUALL_CODEC_OF(squall::wire::pong);
SQUALL_CODEC_OF(squall::wire::reply);
SQUALL_CODEC_OF(squall::wire::call_request);
SQUALL_CODEC_OF(squall::wire::call_result);
SQUALL_CODEC_OF(squall::wire::call_partial);
SQUALL_CODEC_OF(squall::wire::cancel_request);
SQUALL_CODEC_OF(squall::wire::result_taken);
SQUALL_CODEC_OF(squall::wire::apply_function);
SQUALL_CODEC_OF(squall::wire::apply_dag);
SQUALL_CODEC_OF(squall::wire::remove);
SQUALL_CODEC_OF(squall::wire::query);
SQUALL_CODEC_OF(squall::wire::set_policy);
SQUALL_CODEC_OF(squall::wire::drain);
SQUALL_CODEC_OF(squall::wire::shutdown);
