package sensorium.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Optional;

/** Reads what an error says: of a failed call and of a single item alike. */
public final class Failure {
  private Failure() {}

  /**
   * Returns the rich status of a failed call: code, message and details. Without details where the failure was not
   * Sensorium's own: no connection, a proxy, a deadline that passed here.
   */
  public static Status of(Throwable error) {
    try {
      Status rich = StatusProto.fromThrowable(error); // reads the trailer grpc-status-details-bin
      if (rich != null) return rich;
    } catch (IllegalArgumentException mismatch) {
      // A proxy changed the code and left the details: the code counts.
    }
    io.grpc.Status plain = io.grpc.Status.fromThrowable(error);
    String message = plain.getDescription() == null ? String.valueOf(error.getMessage()) : plain.getDescription();
    return Status.newBuilder().setCode(plain.getCode().value()).setMessage(message).build();
  }

  /** Returns the detail of one type, such as {@code BadRequest.class}; empty where the status has none. */
  public static <T extends Message> Optional<T> detail(Status status, Class<T> type) {
    for (Any any : status.getDetailsList()) {
      try {
        if (any.is(type)) return Optional.of(any.unpack(type));
      } catch (InvalidProtocolBufferException broken) {
        // As good as absent: code and message still stand.
      }
    }
    return Optional.empty();
  }

  /** Returns how long to wait before another try; empty where another try is of no use. */
  public static Optional<Duration> retryDelay(Status status) {
    return detail(status, RetryInfo.class)
        .map(info -> Duration.ofSeconds(info.getRetryDelay().getSeconds(), info.getRetryDelay().getNanos()));
  }
}
