import { MemoryStore } from '../kit/memory-store.ts';
import { objectStoreContract, type StoreUnderTest } from './object-store.ts';

function over(store: MemoryStore): StoreUnderTest {
  return { store, close: () => Promise.resolve(), reopen: () => Promise.resolve(over(store)) };
}

objectStoreContract('memory', () => Promise.resolve(over(new MemoryStore())));
