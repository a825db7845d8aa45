# DBpedia as characters, 128 texts a batch.
_base_ = './ag_news.py'

dataset_type = 'DBpedia'
data_root = '{{$MMLAYERWISE_DATA_ROOT:data}}/dbpedia_csv/'
num_classes = 14

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
