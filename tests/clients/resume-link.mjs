// A link for Apollo Client 4 that subscribes again where a connection breaks, with the last `feedCursor` in `after`. It
// stands before any link that ends in a connection.
import { ApolloLink, Observable } from '@apollo/client';

export const resumeLink = (wait) =>
  new ApolloLink(
    (operation, forward) =>
      new Observable((observer) => {
        let inner;
        let isOver = false;
        const start = () => {
          inner = forward(operation).subscribe({
            next(result) {
              for (const event of Object.values(result.data ?? {})) {
                if (event?.feedCursor) operation.variables.after = event.feedCursor;
              }
              observer.next(result);
            },
            error: () => wait().then(() => isOver || start()),
            complete: () => observer.complete(),
          });
        };
        start();
        return () => {
          isOver = true;
          inner.unsubscribe();
        };
      }),
  );
