import { FolderStore } from '../../lib/store/folder/store.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';
import { objectStoreContract, type StoreUnderTest } from './object-store.ts';

function over(folder: TempFolder): StoreUnderTest {
  const store = new FolderStore(folder.join('archive'));
  return {
    store,
    close: async () => {
      await store.close();
      await folder.remove();
    },
    reopen: async () => {
      await store.close();
      return over(folder);
    },
  };
}

objectStoreContract('folder', async () => over(await tempFolder()));
