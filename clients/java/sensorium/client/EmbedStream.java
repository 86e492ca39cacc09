package sensorium.client;

import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.Iterator;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Predicate;
import sensorium.v1.EmbedStreamRequest;
import sensorium.v1.EmbedStreamResponse;
import sensorium.v1.OrchestratorServiceGrpc.OrchestratorServiceStub;

/**
 * One EmbedStream call that sends only while the transport is ready.
 *
 * <p>{@code onNext} never blocks: who does not ask {@code isReady()} piles up in memory whatever the server has not read
 * yet. gRPC runs all of these methods one after the other, so they need no lock.
 */
public final class EmbedStream implements ClientResponseObserver<EmbedStreamRequest, EmbedStreamResponse> {
  private final Iterator<EmbedStreamRequest> requests;
  private final Predicate<EmbedStreamResponse> take;
  private final CompletableFuture<Void> end = new CompletableFuture<>();
  private ClientCallStreamObserver<EmbedStreamRequest> call;
  private boolean isClosed; // half-closed or cancelled: nothing may be sent any more
  private boolean isCancelled;

  private EmbedStream(Iterator<EmbedStreamRequest> requests, Predicate<EmbedStreamResponse> take) {
    this.requests = requests;
    this.take = take;
  }

  /**
   * Sends all requests, hands every answer to {@code take}, which returns false to cancel the call, and returns when the
   * call has ended. Both run on gRPC's threads.
   *
   * @param stub has a deadline; without one, a server that is gone may be waited for forever
   * @throws StatusRuntimeException where the call failed or was cancelled
   */
  public static void run(
      OrchestratorServiceStub stub, Iterator<EmbedStreamRequest> requests, Predicate<EmbedStreamResponse> take) {
    var stream = new EmbedStream(requests, take);
    stub.embedStream(stream);
    try {
      stream.end.join();
    } catch (CompletionException failed) {
      throw failed.getCause() instanceof StatusRuntimeException status ? status : failed;
    }
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<EmbedStreamRequest> call) {
    this.call = call;
    call.setOnReadyHandler(this::send);
  }

  /** Sends as much as the transport takes; gRPC calls again when it takes more. */
  private void send() {
    while (!isClosed && call.isReady()) {
      if (requests.hasNext()) {
        call.onNext(requests.next());
      } else {
        isClosed = true;
        call.onCompleted();
      }
    }
  }

  @Override
  public void onNext(EmbedStreamResponse response) {
    if (isCancelled || take.test(response)) return; // answers that had come before the cancellation are dropped
    isCancelled = true;
    isClosed = true;
    call.cancel("the caller has enough", null);
  }

  @Override
  public void onError(Throwable failed) {
    end.completeExceptionally(failed);
  }

  @Override
  public void onCompleted() {
    end.complete(null);
  }
}
